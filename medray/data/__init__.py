"""Datasets as their authors distribute them, read into cases and split."""
