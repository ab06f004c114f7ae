"""What an objective reads of pairs, and nothing else: branches, one forest, values, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medray.objectives import Needs
from medray.objectives.base import Branch as BranchName
from medray.policy.model.tuning import base_model, starting_weights
from medray.policy.packing import PackedPair
from medray.policy.scoring.forest import Branch, Layout, Readings, build_forest, count_tokens
from medray.policy.scoring.rows import balance
from medray.policy.scoring.scorer import DeviceForest, Scorer, to_device

Call = Callable[..., Any]  # a Scorer, or the engine that wraps one
Pixels = Mapping[str, np.ndarray]


class Reference(Protocol):
    """The policy that the learner must stay close to."""

    def read(
        self, planted: DeviceForest, pictures: Sequence[Tensor], features: Sequence[Tensor] | None
    ) -> tuple[nn.Linear | None, Tensor]:
        """Its output layer (None: the policy's own) and its hidden states [U, D]."""
        ...


class AdaptersOff:
    """The reference under LoRA: the same weights without what the adapters have learned."""

    def __init__(self, scorer: Scorer, call: Call | None = None) -> None:
        self.scorer, self.call = scorer, call or scorer

    def read(
        self, planted: DeviceForest, pictures: Sequence[Tensor], features: Sequence[Tensor] | None
    ) -> tuple[None, Tensor]:
        with starting_weights(self.scorer.policy):
            return None, self.call(planted, pictures, features, what="hidden")


class FrozenModel:
    """A model of its own as reference: the weights that training started from, or others'.

    `same_vision`: it has the policy's tower and projector, so that the features of a frozen
    tower serve both.
    """

    def __init__(self, scorer: Scorer, *, same_vision: bool = True) -> None:
        self.scorer, self.same_vision = scorer, same_vision

    def read(
        self, planted: DeviceForest, pictures: Sequence[Tensor], features: Sequence[Tensor] | None
    ) -> tuple[nn.Linear, Tensor]:
        shared = features if self.same_vision else None
        model: Any = base_model(self.scorer.policy)
        return model.lm_head, self.scorer(planted, pictures, shared, what="hidden")


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

    `call` is what runs the policy's forward pass where an engine wraps it. The corrupted
    branches of a pair without v' are zeros, or its clean image's where `needs.clean_fallback`.
    """
    named = pair_branches(pairs, needs)
    device = next(policy.parameters()).device
    readings, values = read_branches(
        [branch for _, _, branch in named],
        pixels,
        policy=policy,
        call=call,
        reference=reference if needs.reference else None,
    )
    scores: dict[str, Any] = _scatter(pairs, named, needs, readings, values)
    scores["relevance"] = torch.tensor([p.relevance for p in pairs], device=device)
    scores["has_corrupt"] = torch.tensor([bool(p.corrupted_key) for p in pairs], device=device)
    return scores


def read_branches(
    branches: Sequence[Branch],
    pixels: Pixels,
    *,
    policy: Scorer,
    reference: Reference | None,
    call: Call | None = None,
) -> tuple[Readings, dict[str, Tensor]]:
    """Where the branches are read, and policy_logp, ref_logp [N], kl_fwd, kl_rev [K] there.

    Vision features are made once per picture: for policy and reference together where tower and
    projector are frozen, else by each for itself.
    """
    call = call or policy
    parameter = next(policy.parameters())
    forest = build_forest(
        branches, {key: array.shape for key, array in pixels.items()}, policy.layout
    )
    planted = to_device(forest, policy.layout, parameter.device)
    pictures = [
        torch.from_numpy(pixels[key]).to(parameter.device, parameter.dtype)
        for key in forest.pictures
    ]
    features = None
    if policy.vision_is_frozen:
        with torch.no_grad():
            features = call(pictures=pictures, what="features")
    beside = None
    if reference is not None:
        with torch.no_grad():
            beside = reference.read(planted, pictures, features)
    return forest.readings, call(planted, pictures, features, reference=beside)


def pair_branches(
    pairs: Sequence[PackedPair], needs: Needs
) -> list[tuple[BranchName, int, Branch]]:
    """(name, index of the pair, branch) of everything the objective reads."""
    made = []
    for name in needs.branches:
        image, side_name = name.split("/")
        for b, pair in enumerate(pairs):
            picture = pair.image_key if image == "clean" else pair.corrupted_key
            if not picture and not needs.clean_fallback:
                continue
            side = pair.side(side_name)
            kl = tuple(needs.kl.get(name, ()))
            read = {"edited": side.edited, "response": np.ones_like(side.edited)}
            kl_read = read[needs.kl_positions] if kl else np.zeros_like(side.edited)
            made.append(
                (
                    name,
                    b,
                    Branch(
                        pair.prompt_ids,
                        picture or pair.image_key,
                        side.ids,
                        read[needs.positions],
                        kl_read,
                        kl,
                    ),
                )
            )
    return made


def score_answers(
    prompts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    policy: Scorer,
    call: Call | None = None,
) -> list[np.ndarray]:
    """Log-probabilities of whole answers under the policy, float32 [T] each, without gradient.

    prompts: (prompt ids [P], answer ids [T], picture) each.
    """
    branches = []
    for number, (prompt, answer, _) in enumerate(prompts):
        every = np.ones(len(answer), dtype=bool)
        branches.append(Branch(prompt, str(number), answer, every, ~every))
    pixels = {str(number): picture for number, (_, _, picture) in enumerate(prompts)}
    with torch.no_grad():
        readings, values = read_branches(branches, pixels, policy=policy, reference=None, call=call)
    told = values["policy_logp"].float().cpu().numpy()
    answers = [np.empty(len(answer), dtype=np.float32) for _, answer, _ in prompts]
    for value, branch, step in zip(told, readings.branches, readings.steps, strict=True):
        answers[branch][step] = value
    return answers


def share_out(
    pairs: Sequence[PackedPair], needs: Needs, layout: Layout, bins: int
) -> list[list[int]]:
    """Indices of pairs in `bins` micro-batches of nearly equal numbers of tokens.

    Pairs on one picture and prompt stay together: they grow on one tree.
    """
    families: dict[tuple[str, bytes], list[int]] = {}
    for i, pair in enumerate(pairs):
        families.setdefault((pair.image_key, pair.prompt_ids.tobytes()), []).append(i)
    members = list(families.values())
    tokens = [
        count_tokens([b for _, _, b in pair_branches([pairs[i] for i in own], needs)], layout)
        for own in members
    ]
    return [sorted(i for m in group for i in members[m]) for group in balance(tokens, bins)]


def _scatter(
    pairs: Sequence[PackedPair],
    named: Sequence[tuple[BranchName, int, Branch]],
    needs: Needs,
    readings: Readings,
    values: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Values per reading back to [B, T] per branch."""
    device = values["policy_logp"].device
    width = max(len(pair.side(side).ids) for pair in pairs for side in ("chosen", "rejected"))
    owner = np.asarray([b for _, b, _ in named], dtype=np.int64)
    names = np.asarray([name for name, _, _ in named])

    def scattered(value: Tensor, branches: np.ndarray, steps: np.ndarray, name: str) -> Tensor:
        here = np.nonzero(names[branches] == name)[0]
        index = [owner[branches[here]], steps[here]]
        rows, columns, at = (torch.from_numpy(i).to(device) for i in (*index, here))
        empty = torch.zeros(len(pairs), width, device=device, dtype=value.dtype)
        return empty.index_put((rows, columns), value[at])

    kl_of = torch.from_numpy(readings.kl_of).to(device)
    scores: dict[str, Any] = {}
    for name in needs.branches:
        tensors = {}
        for logp in ("policy_logp", "ref_logp") if "ref_logp" in values else ("policy_logp",):
            value = values[logp]
            tensors[logp] = scattered(value, readings.branches, readings.steps, name)
        for kl in needs.kl.get(name, ()):
            value = values[kl][kl_of]
            tensors[kl] = scattered(value, readings.kl_branches, readings.kl_steps, name)
        scores[name] = tensors | _masks(pairs, name, width, device)
    return scores


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
