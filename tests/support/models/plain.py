"""A model used as transformers documents it: one sequence, the processor's inputs, all logits.

Shares no code with medray's scoring, so that it can serve as its oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn


def inputs(
    processor: Any, text: str, images: np.ndarray | Sequence[np.ndarray], answer: Sequence[int] = ()
) -> Any:
    """The model's inputs for a rendered prompt, its image or images and the answer's tokens."""
    out = processor(
        text=[text],
        images=_listed(images),
        return_tensors="pt",
        text_kwargs={"add_special_tokens": False},
    )
    tokens = torch.tensor([list(answer)], dtype=torch.long)
    out["input_ids"] = torch.cat([out["input_ids"], tokens], dim=1)
    out["attention_mask"] = torch.ones_like(out["input_ids"])
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in out:
            out[name] = torch.cat([out[name], torch.zeros_like(tokens)], dim=1)
    return out


def _listed(images: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    return [images] if isinstance(images, np.ndarray) else list(images)


def token_logps(
    model: nn.Module,
    processor: Any,
    text: str,
    images: np.ndarray | Sequence[np.ndarray],
    answer: Sequence[int],
) -> np.ndarray:
    """float32 [T]: log-probability of each of the answer's tokens, given prompt and image."""
    given = inputs(processor, text, images, answer)
    with torch.no_grad():
        logits = model(**given).logits[0].float()
    steps = logits[-len(answer) - 1 : -1].log_softmax(-1)
    return steps.gather(-1, torch.tensor(list(answer))[:, None])[:, 0].numpy()
