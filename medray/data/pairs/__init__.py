"""Preference pairs in the layouts of other projects, one module per layout."""
