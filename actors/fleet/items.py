"""What passes between the loop and the fleet: items, what became of them, and weights."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import ray

from actors.fleet.pool import CallResult
from actors.weights.manifest import Manifest
from medray.policy.picture import Picture
from medray.records import BatchContent, Case, Continuation, Dropped, Pair, Request, Response


@dataclass(frozen=True, slots=True)
class Item:
    """One answer to be given: its id, its case, and the case's images once they are loaded.

    In round 0 the answer is sampled from its beginning; in a later one, behind `prefix_ids`, the
    answer so far with its first wrong sentence corrected.

    >>> Item("s000001-b0-00001", case)  # the first answer of step 1
    """

    item_id: str
    case: Case
    images: tuple[ray.ObjectRef, ...] = ()
    round: int = 0
    prefix_ids: tuple[int, ...] = ()

    @property
    def sampling_name(self) -> str:
        """The name that the seed of this round's sampling is derived from."""
        return f"{self.item_id}/{self.round}" if self.round else self.item_id


@dataclass(frozen=True, slots=True)
class Unusable:
    """An item whose case cannot be used, and why (kebab-case)."""

    item_id: str
    case_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class EditedBatch:
    """What one editor call returned: pairs, drops and continuations, and the packed pairs in
    batches, with what each of them holds."""

    results: Sequence[Pair | Dropped | Continuation]
    batches: Sequence[ray.ObjectRef] = ()
    contents: Sequence[BatchContent] = ()

    @classmethod
    def of(cls, call: CallResult) -> EditedBatch:
        """Of a finished call, which returned `EditResults` and the batches."""
        return cls(call.value.results, call.refs[1:], call.value.contents)


@dataclass(slots=True)
class StepRollout:
    """All items of one step and what became of each.

    `position`: in the stream of training cases, after this step. `responses`: the first to each
    item; `continued`: those of later rounds. The seconds are those in which at
    least one actor was loading, generating or editing for this step.
    """

    step: int
    position: int
    items: list[Item] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    continued: list[Response] = field(default_factory=list)
    edits: list[EditedBatch] = field(default_factory=list)
    load_seconds: float = 0.0
    generate_seconds: float = 0.0
    edit_seconds: float = 0.0

    @property
    def pairs(self) -> list[Pair]:
        return [r for edit in self.edits for r in edit.results if isinstance(r, Pair)]

    @property
    def dropped(self) -> list[Dropped]:
        return [r for edit in self.edits for r in edit.results if isinstance(r, Dropped)]

    @property
    def reasons(self) -> Counter[str]:
        """How many answers were dropped for which reason, before anything was learnt."""
        reasons = Counter(unusable.reason for unusable in self.unusable)
        reasons.update(dropped.reason for dropped in self.dropped)
        return reasons

    @property
    def tokens_sampled(self) -> int:
        responses = (*self.responses, *self.continued)
        return sum(len(response.token_ids) - response.given for response in responses)


@dataclass(eq=False)
class WeightUpdate:
    """Weights of one version in the object store, on their way to every generator.

    `canary_logps`: what the learners make of the canary prompts with these weights, by rank.
    `logp_gap`: the worst generator's mean |log p(learner) - log p(generator)| per token, in nats.
    `cache_stats`: of all generators, as they were before the update.
    """

    manifest: Manifest
    shards: list[ray.ObjectRef]
    canary_logps: asyncio.Task[list[Any]] | None = None
    logp_gap: float = 0.0
    cache_stats: Counter[str] = field(default_factory=Counter)

    @cached_property
    def parcel(self) -> ray.ObjectRef:
        """(manifest, references to the shards) as one object: the same for every generator."""
        return ray.put((self.manifest, self.shards))


@dataclass(frozen=True, slots=True)
class CanaryPrompts:
    """Fixed answers that generators and learners both score after every weight update.

    `requests`, `answers` (token ids) and `images` are a generator's view of them; `prompts` is a
    learner's: (prompt ids [P], answer ids [T], pictures) each.
    """

    requests: list[Request]
    answers: list[list[int]]
    images: list[ray.ObjectRef]
    prompts: list[tuple[np.ndarray, np.ndarray, tuple[Picture, ...]]]


NO_CANARIES = CanaryPrompts([], [], [], [])
