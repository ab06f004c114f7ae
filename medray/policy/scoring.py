"""Per-token log-probabilities and KL of pairs, where an objective reads them and nowhere else.

The plain way: every branch of a pair is a sequence of its own, rows of one batch. The head
runs only at the positions read; log-sum-exp and KL in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medray.objectives import Needs
from medray.policy.loading import base_model
from medray.policy.packing import PackedPair, Side

Forward = Callable[..., Tensor]


class SelectedLogits(nn.Module):
    """A policy whose forward gives float32 logits [N, V] at N chosen (row, position) places."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor,
        rows: Tensor, positions: Tensor,
    ) -> Tensor:  # fmt: skip
        """input_ids, attention_mask int [R, L]; pixel_values [R, 3, h, w]; rows, positions [N]."""
        model = base_model(self.policy)
        hidden = model.model(
            input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values,
            use_cache=False,
        ).last_hidden_state  # fmt: skip
        return model.lm_head(hidden[rows, positions]).float()


@dataclass(frozen=True, slots=True)
class Sequences:
    """Rows of prompt + answer, right-padded, and which answer tokens are read.

    `rows`, `positions`, `targets` [N]: logits at (row, position) predict the target token;
    `steps` [N] is that token's index within its answer.
    """

    inputs: dict[str, Tensor]
    targets: Tensor
    steps: Tensor

    @property
    def rows(self) -> Tensor:
        return self.inputs["rows"]


def build_sequences(
    prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray], read: Sequence[np.ndarray],
    pixels: Sequence[np.ndarray], *, dtype: torch.dtype, device: torch.device,
) -> Sequences:  # fmt: skip
    """prompts [P_i], answers [T_i], read bool [T_i], pixels [3, h, w], one each per row."""
    length = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = np.zeros((len(prompts), length), dtype=np.int64)  # padding: any id, it is masked
    mask = np.zeros_like(ids)
    places: list[tuple[int, int, int, int]] = []
    for row, (prompt, answer, wanted) in enumerate(zip(prompts, answers, read, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = np.concatenate([prompt, answer])
        mask[row, :end] = 1
        places += [
            (row, len(prompt) + int(t) - 1, int(answer[t]), int(t)) for t in np.nonzero(wanted)[0]
        ]
    rows, positions, targets, steps = (
        torch.tensor(column, dtype=torch.long, device=device)
        for column in zip(*places, strict=True)
    )
    inputs = {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(mask).to(device),
        "pixel_values": torch.from_numpy(np.stack(pixels)).to(device, dtype),
        "rows": rows,
        "positions": positions,
    }
    return Sequences(inputs, targets, steps)


def score_pairs(
    pairs: Sequence[PackedPair], pixels: dict[str, np.ndarray], needs: Needs, *,
    policy: Forward, reference: Forward | None, dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    """The `scores` an objective reads: {branch: {name: [B, T]}}, has_corrupt [B], relevance [B].

    `policy` and `reference` map the inputs of SelectedLogits to logits [N, V]; the reference
    is called under no_grad, first. Branches a pair lacks (no v') are zeros.
    """
    places = [
        (branch, b)
        for branch in needs.branches
        for b, pair in enumerate(pairs)
        if branch.startswith("clean/") or pair.corrupted_key
    ]
    sides = [pairs[b].side(branch.split("/")[1]) for branch, b in places]
    sequences = build_sequences(
        [pairs[b].prompt_ids for _, b in places],
        [side.ids for side in sides],
        [_read(side, needs) for side in sides],
        [pixels[_picture(pairs[b], branch)] for branch, b in places],
        dtype=dtype, device=device,
    )  # fmt: skip
    ref_logits = None
    if needs.reference:
        assert reference is not None, "this objective reads a reference"
        with torch.no_grad():
            ref_logits = reference(**sequences.inputs)
    logits = policy(**sequences.inputs)
    return _scatter(pairs, places, sequences, logits, ref_logits, needs)


def token_logps(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target) from float32 logits [N, V] and targets [N], → [N]."""
    picked = logits.gather(-1, targets[:, None])[:, 0]
    return picked - logits.logsumexp(-1)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(p ‖ q) over the full vocabulary at each of N positions, [N, V] → [N]."""
    p, q = p_logits.log_softmax(-1), q_logits.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def _read(side: Side, needs: Needs) -> np.ndarray:
    """Which answer tokens the objective reads, bool [T]."""
    return side.edited if needs.positions == "edited" else np.ones_like(side.edited)


def _picture(pair: PackedPair, branch: str) -> str:
    return pair.image_key if branch.startswith("clean/") else pair.corrupted_key


def _scatter(
    pairs: Sequence[PackedPair], places: Sequence[tuple[str, int]], sequences: Sequences,
    logits: Tensor, ref_logits: Tensor | None, needs: Needs,
) -> dict[str, Any]:  # fmt: skip
    """Flat per-token values back to [B, T] per branch."""
    width = max(len(pair.side(s).ids) for pair in pairs for s in ("chosen", "rejected"))
    values = {"policy_logp": token_logps(logits, sequences.targets)}
    if ref_logits is not None:
        values["ref_logp"] = token_logps(ref_logits, sequences.targets)
    scores: dict[str, Any] = {}
    for branch in needs.branches:
        rows = [row for row, place in enumerate(places) if place[0] == branch]
        owner = torch.tensor([places[row][1] for row in rows], dtype=torch.long)
        here = torch.isin(sequences.rows, torch.tensor(rows, device=logits.device))
        pair_of_row = torch.zeros(len(places), dtype=torch.long)
        pair_of_row[rows] = owner
        index = (pair_of_row.to(logits.device)[sequences.rows[here]], sequences.steps[here])
        flat = {name: value[here] for name, value in values.items()}
        flat |= _divergences(needs.kl.get(branch, ()), logits, ref_logits, here)
        empty = torch.zeros(len(pairs), width, device=logits.device)
        tensors = {name: empty.index_put(index, value) for name, value in flat.items()}
        scores[branch] = tensors | _masks(pairs, branch, width, logits.device)
    scores["relevance"] = torch.tensor([p.relevance for p in pairs], device=logits.device)
    scores["has_corrupt"] = torch.tensor(
        [bool(p.corrupted_key) for p in pairs], device=logits.device
    )
    return scores


def _divergences(
    directions: Sequence[str], logits: Tensor, ref_logits: Tensor | None, here: Tensor
) -> dict[str, Tensor]:
    if not directions:
        return {}
    assert ref_logits is not None, "KL reads a reference"
    policy, reference = logits[here], ref_logits[here]
    both = {
        "kl_fwd": lambda: kl_divergence(reference, policy),
        "kl_rev": lambda: kl_divergence(policy, reference),
    }
    return {name: both[name]() for name in directions}


def _masks(
    pairs: Sequence[PackedPair], branch: str, width: int, device: torch.device
) -> dict[str, Tensor]:
    response = np.zeros((len(pairs), width), dtype=bool)
    edited = np.zeros_like(response)
    for b, pair in enumerate(pairs):
        side = pair.side(branch.split("/")[1])
        response[b, : len(side.ids)] = True
        edited[b, : len(side.ids)] = side.edited
    masks = {"response_mask": response, "edit_mask": edited}
    return {name: torch.from_numpy(value).to(device) for name, value in masks.items()}
