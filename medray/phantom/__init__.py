"""Synthetic chest studies with known truth, and the tiny base model that learns from them."""

from pathlib import Path

BASE_PATH = Path(__file__).parent / "base"  # the base model that is shipped, as built by recipe.py
