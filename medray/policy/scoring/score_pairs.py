"""Pairs to scores: branches, one forest, values; only what an objective reads is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medray.objectives import Needs
from medray.objectives.base import Branch as BranchName
from medray.policy.model.tuning import base_model, starting_weights
from medray.policy.packing import PackedPair
from medray.policy.picture import Picture, as_tensor
from medray.policy.scoring.forest import (
    Branch,
    Layout,
    ReadIndex,
    build_forest,
    count_cells,
    count_tokens,
    tree_key,
)
from medray.policy.scoring.rows import balance
from medray.policy.scoring.scorer import DeviceForest, Scorer, to_device

Call = Callable[..., Any]  # a Scorer, or the engine that wraps one
Pixels = Mapping[str, Picture]
SideRatios = tuple[list[float], list[float]]  # log π/π₀ of each token: chosen, rejected


class Reference(Protocol):
    """The policy that the learner must stay close to."""

    def head_and_hidden(
        self, forest: DeviceForest, pictures: Sequence[Tensor], features: Sequence[Tensor] | None
    ) -> tuple[nn.Linear | None, Tensor]:
        """Its output layer (None: the policy's own) and its hidden states [U, D]."""
        ...


class AdaptersOff:
    """The reference under LoRA: the same weights, without what the adapters have learned."""

    def __init__(self, scorer: Scorer, call: Call | None = None) -> None:
        self.scorer, self.call = scorer, call or scorer

    def head_and_hidden(
        self, forest: DeviceForest, pictures: Sequence[Tensor], features: Sequence[Tensor] | None
    ) -> tuple[None, Tensor]:
        with starting_weights(self.scorer.policy):
            return None, self.call(forest, pictures, features, stage="hidden")


class FrozenModel:
    """A separate model as reference: the weights that training started from, or another model.

    `same_vision`: it has the policy's tower and projector, so that both can use the features of
    a frozen tower.
    """

    def __init__(self, scorer: Scorer, *, same_vision: bool = True) -> None:
        self.scorer, self.same_vision = scorer, same_vision

    def head_and_hidden(
        self, forest: DeviceForest, pictures: Sequence[Tensor], features: Sequence[Tensor] | None
    ) -> tuple[nn.Linear, Tensor]:
        shared = features if self.same_vision else None
        model: Any = base_model(self.scorer.policy)
        return model.lm_head, self.scorer(forest, pictures, shared, stage="hidden")


def score_pairs(
    pairs: Sequence[PackedPair],
    pixels: Pixels,
    needs: Needs,
    *,
    policy: Scorer,
    reference: Reference | None,
    call: Call | None = None,
) -> dict[str, Any]:
    """The `scores` an objective reads: {branch: {name: [B, T]}}, has_corrupt [B], relevance [B].

    `call` runs the policy's forward pass if an engine wraps it. The corrupted branches of a pair
    without v' are zeros, or those of its clean image if `needs.clean_fallback`.
    """
    scores, _ = score_and_look(
        pairs, pixels, needs, (), policy=policy, reference=reference, call=call
    )
    return scores


def score_and_look(
    pairs: Sequence[PackedPair],
    pixels: Pixels,
    needs: Needs,
    looked_at: Sequence[int],
    *,
    policy: Scorer,
    reference: Reference | None,
    call: Call | None = None,
) -> tuple[dict[str, Any], list[SideRatios]]:
    """As `score_pairs`; and of some of the pairs, by their indices, log π/π₀ of every token of both
    sides on the clean image, in the same forward pass. They need a reference."""
    named_branches = pair_branches(pairs, needs)
    both_sides = [(pairs[i], side) for i in looked_at for side in ("chosen", "rejected")]
    device = next(policy.parameters()).device
    read_index, values = read_branches(
        [branch for _, _, branch in named_branches] + [every_token(*each) for each in both_sides],
        pixels,
        policy=policy,
        call=call,
        reference=reference if needs.reference else None,
    )
    scores: dict[str, Any] = _scatter(pairs, named_branches, needs, read_index, values)
    scores["relevance"] = torch.tensor([p.relevance for p in pairs], device=device)
    scores["has_corrupt"] = torch.tensor([bool(p.corrupted_keys) for p in pairs], device=device)
    lengths = [len(pair.side(side).ids) for pair, side in both_sides]
    ratios = _log_ratios(len(named_branches), lengths, read_index, values) if lengths else []
    return scores, list(zip(ratios[::2], ratios[1::2], strict=True))


def read_branches(
    branches: Sequence[Branch],
    pixels: Pixels,
    *,
    policy: Scorer,
    reference: Reference | None,
    call: Call | None = None,
) -> tuple[ReadIndex, dict[str, Tensor]]:
    """Where the branches are read, and policy_logp, ref_logp [N], kl_fwd, kl_rev [K] there.

    Vision features are computed once per picture: once for policy and reference together if
    tower and projector are frozen, otherwise by each model for itself.
    """
    call = call or policy
    parameter = next(policy.parameters())
    forest = build_forest(
        branches, {key: array.shape for key, array in pixels.items()}, policy.layout
    )
    device_forest = to_device(forest, policy.layout, parameter.device)
    pictures = [
        as_tensor(pixels[key], parameter.device, parameter.dtype) for key in forest.image_keys
    ]
    features = None
    if policy.vision_is_frozen:
        with torch.no_grad():
            features = call(pictures=pictures, stage="features")
    head_and_hidden = None
    if reference is not None:
        with torch.no_grad():
            head_and_hidden = reference.head_and_hidden(device_forest, pictures, features)
    values = call(device_forest, pictures, features, reference=head_and_hidden)
    return forest.read_index, values


def pair_branches(
    pairs: Sequence[PackedPair], needs: Needs
) -> list[tuple[BranchName, int, Branch]]:
    """(name, index of the pair, branch) of everything the objective reads."""
    branches = []
    for name in needs.branches:
        image, side_name = name.split("/")
        for b, pair in enumerate(pairs):
            image_keys = pair.image_keys if image == "clean" else pair.corrupted_keys
            if not image_keys and not needs.clean_fallback:
                continue
            side = pair.side(side_name)
            directions = tuple(needs.kl.get(name, ()))
            masks = {"edited": side.edited, "response": np.ones_like(side.edited)}
            kl_mask = masks[needs.kl_positions] if directions else np.zeros_like(side.edited)
            branch = Branch(
                pair.context_ids,
                image_keys or pair.image_keys,
                side.ids,
                masks[needs.positions],
                kl_mask,
                directions,
            )
            branches.append((name, b, branch))
    return branches


def every_token(pair: PackedPair, side_name: str) -> Branch:
    """One side of a pair on the clean image, every token of which is read."""
    ids = pair.side(side_name).ids
    every = np.ones(len(ids), dtype=bool)
    return Branch(pair.context_ids, pair.image_keys, ids, every, ~every)


def score_answers(
    prompts: Sequence[tuple[np.ndarray, np.ndarray, Sequence[Picture]]],
    *,
    policy: Scorer,
    call: Call | None = None,
) -> list[np.ndarray]:
    """Log-probabilities of all answer tokens under the policy, float32 [T] each, no gradient.

    prompts: (prompt ids [P], answer ids [T], the pictures of the prompt's images) each.
    """
    branches, pixels = [], dict[str, Picture]()
    for number, (prompt, answer, pictures) in enumerate(prompts):
        all_tokens = np.ones(len(answer), dtype=bool)
        keys = tuple(f"{number}/{place}" for place in range(len(pictures)))
        branches.append(Branch(prompt, keys, answer, all_tokens, ~all_tokens))
        pixels |= dict(zip(keys, pictures, strict=True))
    with torch.no_grad():
        index, values = read_branches(branches, pixels, policy=policy, reference=None, call=call)
    logps = values["policy_logp"].float().cpu().numpy()
    answer_logps = [np.empty(len(answer), dtype=np.float32) for _, answer, _ in prompts]
    for logp, branch, step in zip(logps, index.logp_branches, index.logp_steps, strict=True):
        answer_logps[branch][step] = logp
    return answer_logps


def batch_pairs(
    pairs: Sequence[PackedPair], needs: Needs, layout: Layout, micro_batch: int
) -> list[list[int]]:
    """Indices of pairs by micro-batch, of nearly equal numbers of tokens.

    Pairs that can share a tree stay together while they need no more memory than `micro_batch` of
    the largest pair would, each by itself; no micro-batch needs more. There are as few as
    `micro_batch` pairs in each allow, more if that is too much memory.
    """

    def branches(own: Sequence[int]) -> list[Branch]:
        return [b for _, _, b in pair_branches([pairs[i] for i in own], needs)]

    def cells(own: Sequence[int]) -> int:
        return count_cells(branches(own), layout) if own else 0

    limit = micro_batch * max((cells([i]) for i in range(len(pairs))), default=0)

    def cut(own: list[int]) -> list[list[int]]:
        """In as few equal parts as fit."""
        for count in range(math.ceil(cells(own) / limit), len(own)):
            parts = [part.tolist() for part in np.array_split(own, count)]
            if max(map(cells, parts)) <= limit:
                return parts
        return [[i] for i in own]

    members = [part for own in _by_tree(pairs, layout) for part in cut(own)]
    tokens = [count_tokens(branches(own), layout) for own in members]
    batches: list[list[int]] = []
    for count in range(min(math.ceil(len(pairs) / micro_batch), len(members)), len(members) + 1):
        groups = balance(tokens, count)
        batches = [sorted(i for m in group for i in members[m]) for group in groups]
        if max(map(cells, batches), default=0) <= limit:
            break
    return batches


def _by_tree(pairs: Sequence[PackedPair], layout: Layout) -> list[list[int]]:
    """Indices of the pairs that can share a tree, neighbours sharing most of it."""
    by_tree: dict[tuple[tuple[str, ...], bytes], list[int]] = {}
    for i, pair in enumerate(pairs):
        key = tree_key(pair.prompt_ids, pair.image_keys, layout.image_token)
        by_tree.setdefault(key, []).append(i)

    def sequence(i: int) -> tuple[list[int], list[int]]:
        return pairs[i].context_ids.tolist(), pairs[i].chosen.ids.tolist()

    return [sorted(own, key=sequence) for own in by_tree.values()]


def _scatter(
    pairs: Sequence[PackedPair],
    named_branches: Sequence[tuple[BranchName, int, Branch]],
    needs: Needs,
    read_index: ReadIndex,
    values: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Values in the order of `read_index` → [B, T] per branch name, zero where nothing is read."""
    device = values["policy_logp"].device
    width = max(len(pair.side(side).ids) for pair in pairs for side in ("chosen", "rejected"))
    pair_of_branch = np.asarray([b for _, b, _ in named_branches], dtype=np.int64)
    names = np.asarray([name for name, _, _ in named_branches])

    def scattered(value: Tensor, branches: np.ndarray, steps: np.ndarray, name: str) -> Tensor:
        named = branches < len(names)
        selected = np.nonzero(named)[0][names[branches[named]] == name]
        index = (pair_of_branch[branches[selected]], steps[selected], selected)
        rows, columns, entries = (torch.from_numpy(i).to(device) for i in index)
        zeros = torch.zeros(len(pairs), width, device=device, dtype=value.dtype)
        return zeros.index_put((rows, columns), value[entries])

    kl_value_index = torch.from_numpy(read_index.kl_value_index).to(device)
    scores: dict[str, Any] = {}
    for name in needs.branches:
        tensors = {}
        for logp in ("policy_logp", "ref_logp") if "ref_logp" in values else ("policy_logp",):
            tensors[logp] = scattered(
                values[logp], read_index.logp_branches, read_index.logp_steps, name
            )
        for kl in needs.kl.get(name, ()):
            value = values[kl][kl_value_index]
            tensors[kl] = scattered(value, read_index.kl_branches, read_index.kl_steps, name)
        scores[name] = tensors | _masks(pairs, name, width, device)
    return scores


def _log_ratios(
    first: int, lengths: Sequence[int], read_index: ReadIndex, values: Mapping[str, Tensor]
) -> list[list[float]]:
    """log π/π₀ of the tokens of the branches from `first` on, which have so many."""
    found = [[math.nan] * length for length in lengths]
    entries = np.nonzero(read_index.logp_branches >= first)[0]
    ratios = (values["policy_logp"].detach() - values["ref_logp"]).float().cpu().numpy()
    branches, steps = read_index.logp_branches[entries] - first, read_index.logp_steps[entries]
    for ratio, branch, step in zip(ratios[entries].tolist(), branches, steps, strict=True):
        found[branch][step] = ratio
    return found


def _masks(
    pairs: Sequence[PackedPair], name: str, width: int, device: torch.device
) -> dict[str, Tensor]:
    response = np.zeros((len(pairs), width), dtype=bool)
    edited = np.zeros_like(response)
    for b, pair in enumerate(pairs):
        side = pair.side(name.split("/")[1])
        response[b, : len(side.ids)] = True
        edited[b, : len(side.ids)] = side.edited
    masks = {"response_mask": response, "edit_mask": edited}
    return {key: torch.from_numpy(value).to(device) for key, value in masks.items()}
