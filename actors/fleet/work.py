"""What passes between the driver and the fleet: work, its parts, what became of it, and weights."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import ray

from actors.weights.manifest import Manifest
from medray.records import Case, Dropped, Pair, Request, Response
from medray.seeds import item_seed

CHUNK = 256  # cases of one call, at most
PIECES = 4  # calls per generator and step: what one takes more, another may take less
PIECE_LEAST = 32  # answers, where there are enough: fewer leave an engine's batch too small

T = TypeVar("T")
Came = Callable[[list["Work"], list[Response]], None]


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
    golden: asyncio.Task[list[Any]] | None = None  # learners' golden log-probabilities, by rank
    caches: Counter[str] = field(default_factory=Counter)  # of all generators, before the update
    gap: float = 0.0  # worst generator's mean |log p(learner) − log p(generator)| per token


@dataclass(frozen=True, slots=True)
class Golden:
    """Prompts with images and fixed answers, as generators and as learners take them."""

    requests: list[Request]
    answers: list[list[int]]
    images: list[ray.ObjectRef]
    prompts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


class Waiting:
    """Items that wait for their answers. Whoever answers an item first counts.

    `came` is handed the new responses of each part, with their items, until `close`.
    """

    def __init__(self, work: Sequence[Work], came: Came | None = None) -> None:
        self.came = came
        self.items = {item.item_id: item for item in work}
        self.said: dict[str, Response] = {}

    @property
    def left(self) -> list[Work]:
        """What nobody has answered yet."""
        return [item for i, item in self.items.items() if i not in self.said]

    def renew(self, work: Sequence[Work]) -> None:
        """The same items, with images that were read again."""
        self.items |= {item.item_id: item for item in work}

    def take(self, part: Sequence[Response]) -> None:
        """Some answers, of which some may be known."""
        new = [response for response in part if response.item_id not in self.said]
        self.said |= {response.item_id: response for response in new}
        if new and self.came is not None:
            self.came([self.items[response.item_id] for response in new], new)

    def close(self) -> list[Response]:
        """All responses, in the order of the work; nobody is told of what comes later."""
        self.came = None
        return [self.said[i] for i in self.items if i in self.said]


def pieces(work: Sequence[T], replicas: int) -> list[Sequence[T]]:
    """What one generator of `replicas` is asked at a time."""
    size, own = CHUNK, -(-len(work) // replicas)
    if replicas > 1:
        size = max(1, min(CHUNK, own, max(PIECE_LEAST, own // PIECES)))
    return [work[start : start + size] for start in range(0, len(work), size)]


def shares(items: Sequence[T], replicas: int) -> list[Sequence[T]]:
    """An equal share for each editor, in calls of bounded size."""
    size = max(1, min(CHUNK, -(-len(items) // replicas)))
    return [items[start : start + size] for start in range(0, len(items), size)]


def requests(work: Sequence[Work], seed: int) -> tuple[list[Request], list[ray.ObjectRef]]:
    """Requests of one call and each picture they name, once; `seed` is the run's."""
    index: dict[str, int] = {}
    images: list[ray.ObjectRef] = []
    made = []
    for item in work:
        case = item.case
        if case.case_id not in index:
            index[case.case_id] = len(images)
            images.append(item.image)
        own = item_seed(seed, item.item_id)
        made.append(Request(item.item_id, case.case_id, case.question, index[case.case_id], own))
    return made, images
