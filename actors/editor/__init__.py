"""Responses in, pairs and a packed batch out: edits, relevance, corruption, packing."""

from actors.editor.actor import Editor

__all__ = ["Editor"]
