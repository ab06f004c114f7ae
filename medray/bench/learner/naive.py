"""Scoring as it is usually done: the naive oracle that faster implementations are compared with.

Every branch of a pair is a separate sequence; the model computes the logits of every position,
with log_softmax over all of them; the reference repeats all of it, vision tower included. Nothing
of medray's own scoring is used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medray.objectives import Needs
from medray.objectives.base import Branch
from medray.policy.packing import PackedPair

Pixels = Mapping[str, np.ndarray]
Row = tuple[Branch, int]  # branch and index of the pair
Values = dict[str, Tensor]  # name → [R, L − 1], at every token except the first


def naive_scores(
    model: Any,
    pairs: Sequence[PackedPair],
    pixels: Pixels,
    needs: Needs,
    reference: Any = None,
    *,
    one_by_one: bool = False,
) -> dict[str, Any]:
    """The `scores` an objective reads: {branch: {name: [B, T]}}, relevance and has_corrupt [B].

    `reference` None: `model` with its adapters disabled. Every answer token gets values, whichever
    positions the objective reads; a pair without v' has zeros for it, or the values of its clean
    image if `needs.clean_fallback`. `one_by_one`: one forward pass per sequence, without padding;
    otherwise one for the clean and one for the corrupted images.
    """
    device = next(model.parameters()).device
    values: dict[Row, Values] = {}
    for image in ("clean", "corrupt"):
        rows = [
            (branch, b)
            for branch in needs.branches
            for b, pair in enumerate(pairs)
            if branch.startswith(f"{image}/")
            and (image == "clean" or pair.corrupted_keys or needs.clean_fallback)
        ]
        groups = [[row] for row in rows] if one_by_one else [rows]
        for group in filter(None, groups):
            values |= _answer_values(model, reference, pairs, pixels, group, needs)
    scores: dict[str, Any] = {
        branch: _branch(branch, pairs, values, needs, device) for branch in needs.branches
    }
    scores["relevance"] = torch.tensor([pair.relevance for pair in pairs], device=device)
    scores["has_corrupt"] = torch.tensor(
        [bool(pair.corrupted_keys) for pair in pairs], device=device
    )
    return scores


def _answer_values(
    model: Any,
    reference: Any,
    pairs: Sequence[PackedPair],
    pixels: Pixels,
    rows: Sequence[Row],
    needs: Needs,
) -> dict[Row, Values]:
    """{row: {name: [T]}} of the answers of `rows`, from one forward pass of each model."""
    inputs = model_inputs(model, pairs, pixels, rows)
    kl = [r for r, (branch, _) in enumerate(rows) if needs.kl.get(branch)]
    first, last = (min(kl), max(kl) + 1) if kl else (0, 0)
    ref_all = None
    values: Values = {}
    if needs.reference:
        adapters_off: AbstractContextManager[Any] = nullcontext()
        if reference is None:
            adapters_off = model.disable_adapter()
        with torch.no_grad(), adapters_off:
            ref_all = _log_probabilities(model if reference is None else reference, inputs)
            values["ref_logp"] = _of_tokens(ref_all, inputs["input_ids"])
            ref_all = ref_all[first:last].clone()  # the rest is no longer needed
    policy_all = _log_probabilities(model, inputs)
    values["policy_logp"] = _of_tokens(policy_all, inputs["input_ids"])
    by_row = _per_answer(values, range(len(rows)), rows, pairs)
    if kl:
        assert ref_all is not None, "KL reads a reference"
        p, q = policy_all[first:last], ref_all
        requested = {name for names in needs.kl.values() for name in names}
        arguments = {"kl_fwd": (q, p), "kl_rev": (p, q)}
        divergences = {name: _divergence(*arguments[name]) for name in sorted(requested)}
        for row, divergence in _per_answer(divergences, range(first, last), rows, pairs).items():
            by_row[row] |= divergence
    return by_row


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) at each position from log-probabilities [R, L − 1, V]."""
    return (p.exp() * (p - q)).sum(-1)


def model_inputs(
    model: Any, pairs: Sequence[PackedPair], pixels: Pixels, rows: Sequence[Row]
) -> dict[str, Tensor]:
    """Inputs of the transformers model: right-padded ids and mask [R, L], and the pictures."""
    parameter = next(model.parameters())
    sequences, pictures = [], []
    for branch, b in rows:
        image, side = branch.split("/")
        pair = pairs[b]
        sequences.append(np.concatenate([pair.context_ids, pair.side(side).ids]))
        keys = pair.image_keys if image == "clean" else pair.corrupted_keys or pair.image_keys
        pictures += [pixels[key] for key in keys]
    length = max(map(len, sequences))
    ids = np.zeros((len(rows), length), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
    arrays = {"input_ids": ids, "attention_mask": mask}
    if model.config.model_type == "qwen2_5_vl":
        flat = [picture.reshape(-1, picture.shape[-1]) for picture in pictures]
        arrays["pixel_values"] = np.concatenate(flat)
        arrays["image_grid_thw"] = np.asarray([picture.shape[:3] for picture in pictures])
        image_tokens = (ids == model.config.image_token_id) & (mask == 1)
        arrays["mm_token_type_ids"] = image_tokens.astype(np.int64)
    else:
        arrays["pixel_values"] = np.stack(pictures)
    inputs = {name: torch.from_numpy(array).to(parameter.device) for name, array in arrays.items()}
    inputs["pixel_values"] = inputs["pixel_values"].to(parameter.dtype)
    return inputs


def _log_probabilities(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """log p(· | preceding tokens) at every token except the first, float32 [R, L − 1, V]."""
    logits = model(**inputs, use_cache=False).logits
    return logits[:, :-1].float().log_softmax(-1)


def _of_tokens(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    """log p of the actual tokens, [R, L − 1]."""
    return log_probabilities.gather(-1, ids[:, 1:, None])[..., 0]


def _per_answer(
    values: Values, numbers: Sequence[int], rows: Sequence[Row], pairs: Sequence[PackedPair]
) -> dict[Row, Values]:
    """The part of the answers, {row: {name: [T]}}; line i of `values` is row numbers[i]."""
    by_row = {}
    for line, number in enumerate(numbers):
        branch, b = rows[number]
        start = len(pairs[b].context_ids) - 1
        stop = start + len(pairs[b].side(branch.split("/")[1]).ids)
        by_row[rows[number]] = {name: value[line, start:stop] for name, value in values.items()}
    return by_row


def _branch(
    branch: Branch,
    pairs: Sequence[PackedPair],
    values: dict[Row, Values],
    needs: Needs,
    device: torch.device,
) -> Values:
    """One branch of the scores: {name: [B, T]}."""
    sides = [pair.side(branch.split("/")[1]) for pair in pairs]
    width = max(len(s.ids) for pair in pairs for s in (pair.chosen, pair.rejected))

    def stacked(rows: Sequence[Tensor]) -> Tensor:
        return torch.stack([F.pad(row, (0, width - len(row))) for row in rows])

    names = ["policy_logp", *(["ref_logp"] if needs.reference else [])]
    names += needs.kl.get(branch, ())
    zeros = [torch.zeros(len(side.ids), device=device) for side in sides]
    scores = {
        name: stacked([values.get((branch, b), {}).get(name, zeros[b]) for b in range(len(pairs))])
        for name in names
    }
    scores["response_mask"] = stacked([torch.ones_like(row, dtype=torch.bool) for row in zeros])
    scores["edit_mask"] = stacked([torch.from_numpy(side.edited).to(device) for side in sides])
    return scores
