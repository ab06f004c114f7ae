"""The recipe of the tiny base model: it learns to see, to speak, and then a strong prior."""
