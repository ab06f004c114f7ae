"""Preference pairs as other projects keep them, one file per layout."""
