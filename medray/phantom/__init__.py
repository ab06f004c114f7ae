"""Synthetic chest studies with known truth, and the tiny base model that learns from them."""

from pathlib import Path

BASE_PATH = Path(__file__).parent / "base"  # the shipped base model, built by training/recipe.py
