"""Responses in, pairs and a packed batch out: edits, relevance, corruption, packing."""
