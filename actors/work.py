"""What passes between the driver and the fleet: work, what became of it, and weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import ray

from actors.weights import Manifest
from medray.records import Case, Dropped, Pair, Request, Response


@dataclass(frozen=True, slots=True)
class Work:
    """One item to answer: its id, its case, and its image in the object store."""

    item_id: str
    case: Case
    image: ray.ObjectRef


@dataclass(frozen=True, slots=True)
class Edited:
    """One editor call's outcomes, and its batch in the object store."""

    outcomes: list[Pair | Dropped]
    batch: ray.ObjectRef


@dataclass(slots=True)
class Rollout:
    """What became of some items, and the seconds it took from the first call to the last."""

    unusable: list[tuple[str, str]] = field(default_factory=list)  # (item id, reason)
    responses: list[Response] = field(default_factory=list)
    edited: list[Edited] = field(default_factory=list)
    load: float = 0.0
    generate: float = 0.0
    edit: float = 0.0

    @property
    def outcomes(self) -> list[Pair | Dropped]:
        return [outcome for edited in self.edited for outcome in edited.outcomes]

    @property
    def pairs(self) -> list[Pair]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, Pair)]

    def add(self, other: Rollout) -> None:
        """The items of another round of the same step."""
        self.unusable += other.unusable
        self.responses += other.responses
        self.edited += other.edited
        self.load += other.load
        self.generate += other.generate
        self.edit += other.edit


@dataclass(slots=True, eq=False)
class Update:
    """Weights of one version in the object store, and what the learners make of the golden set."""

    manifest: Manifest
    shards: list[ray.ObjectRef]
    expected: np.ndarray | None = None  # log-probabilities of all golden tokens
    caches: Counter[str] = field(default_factory=Counter)  # of all generators, before the update
    gap: float = 0.0  # worst generator's mean |log p(learner) − log p(generator)| per token


@dataclass(frozen=True, slots=True)
class Golden:
    """Prompts with images and fixed answers, as generators and as learners take them."""

    requests: list[Request]
    answers: list[list[int]]
    images: list[ray.ObjectRef]
    prompts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
