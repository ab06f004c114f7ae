"""Synthetic chest studies with known truth, and the tiny base models that learn from them."""

from pathlib import Path
from typing import Literal

FamilyName = Literal["mistral", "qwen2"]  # of a base model's decoder

BASE_PATH = Path(__file__).parent / "base"  # the shipped base model, built by training/recipe.py
QWEN_BASE_PATH = BASE_PATH.with_name("qwen_base")  # the same with another decoder
BASES = {"short": BASE_PATH, "paragraphs": BASE_PATH.with_name("paragraphs_base")}  # by style
