"""A model on disk: its facts, its chat template, and which of its weights train."""
