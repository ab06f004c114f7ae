"""A model from disk: its facts, its chat template, and which of its weights train."""
