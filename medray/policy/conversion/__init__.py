"""Original LLaVA-Med and HuatuoGPT-Vision checkpoints into the transformers layout.

`convert` is the way in; the others are its parts: families, weights, tower, tokens.
"""

from medray.policy.conversion.convert import convert

__all__ = ["convert"]
