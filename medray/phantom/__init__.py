"""Synthetic chest studies with known truth, and the tiny base model that learns from them."""
