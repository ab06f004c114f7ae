"""How the items of a step are shared out among generators and editors, and their requests."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import ray

from actors.fleet.items import Item
from medray.records import Request, Response
from medray.seeds import item_seed

MAX_CALL = 256  # items of one call to a generator or an editor, at most
CALLS_PER_GENERATOR = 4  # of one step: a fast generator may take more of them than a slow one
MIN_GENERATE = 32  # items of one call, if there are enough: fewer leave an engine's batch small
MIN_EDIT = 4  # answers of one call, if there are enough: each call costs the driver a message

T = TypeVar("T")
OnResponses = Callable[[list[Item], list[Response]], None]


def generator_calls(items: Sequence[Item], replicas: int) -> list[list[Item]]:
    """The items of each call. Only from two replicas on is a share cut into several calls."""
    size, share = MAX_CALL, -(-len(items) // replicas)
    if replicas > 1:
        size = max(1, min(MAX_CALL, share, max(MIN_GENERATE, share // CALLS_PER_GENERATOR)))
    return _calls(items, size, lambda item: item.case.case_id)


def editor_calls(
    items: Sequence[T], replicas: int, *, least: int = 1, by: Callable[[T], object] | None = None
) -> list[list[T]]:
    """About an equal share for each editor, in calls of bounded size, with `least` items if there
    are enough. Neighbours that are equal under `by` are in one call."""
    size = max(1, min(MAX_CALL, max(least, -(-len(items) // replicas))))
    return _calls(items, size, by)


def _calls(items: Sequence[T], size: int, by: Callable[[T], object] | None) -> list[list[T]]:
    """Calls of `size` items, or some more where neighbours must stay together."""
    if by is None:
        return [list(items[start : start + size]) for start in range(0, len(items), size)]
    calls: list[list[T]] = []
    for _, group in itertools.groupby(items, by):
        if not calls or len(calls[-1]) >= size:
            calls.append([])
        calls[-1] += group
    return calls


def build_requests(items: Sequence[Item], seed: int) -> tuple[list[Request], list[ray.ObjectRef]]:
    """Requests of one call, and the images of each case, once. `seed` is the run's."""
    index: dict[str, tuple[int, ...]] = {}
    images: list[ray.ObjectRef] = []
    requests = []
    for item in items:
        case = item.case
        if case.case_id not in index:
            first = len(images)
            images += item.images
            index[case.case_id] = tuple(range(first, len(images)))
        request = Request(
            item.item_id,
            case.case_id,
            case.question,
            images=index[case.case_id],
            seed=item_seed(seed, item.sampling_name),
            prefix_ids=item.prefix_ids,
        )
        requests.append(request)
    return requests, images


def images_in_order(items: Sequence[Item]) -> list[ray.ObjectRef]:
    """The images of one item after the other, as editors, packers and localisers take them."""
    return [image for item in items for image in item.images]


class AnswersByCase:
    """Holds answers back until all answers to their case are there, which then are edited in one
    call: what they share, the prompt and v', is made once."""

    def __init__(self, items: Sequence[Item], on_responses: OnResponses) -> None:
        self.on_responses = on_responses
        self.missing = Counter(item.case.case_id for item in items)
        self.waiting: dict[str, list[tuple[Item, Response]]] = {}

    def receive(self, items: Sequence[Item], responses: Sequence[Response]) -> None:
        """New responses, with their items."""
        complete = []
        for item, response in zip(items, responses, strict=True):
            case_id = item.case.case_id
            self.waiting.setdefault(case_id, []).append((item, response))
            self.missing[case_id] -= 1
            if not self.missing[case_id]:
                complete.append(case_id)
        self._hand_on(complete)

    def flush(self) -> None:
        """Hand on what still waits: the other answers to these cases will not come."""
        self._hand_on(list(self.waiting))

    def _hand_on(self, case_ids: Sequence[str]) -> None:
        rows = [row for case_id in case_ids for row in self.waiting.pop(case_id)]
        if rows:
            self.on_responses([item for item, _ in rows], [response for _, response in rows])


class PendingResponses:
    """Items that wait for their responses; the first response to an item counts.

    `on_responses` is handed the new responses of each part, with their items, until `close`.
    """

    def __init__(self, items: Sequence[Item], on_responses: OnResponses | None = None) -> None:
        self.on_responses = on_responses
        self.items = {item.item_id: item for item in items}
        self.responses: dict[str, Response] = {}

    @property
    def missing(self) -> list[Item]:
        """Items without a response."""
        return self.missing_of(list(self.items.values()))

    def missing_of(self, items: Sequence[Item]) -> list[Item]:
        """Those of `items` that have no response, as they are now."""
        ids = (item.item_id for item in items)
        return [self.items[i] for i in ids if i not in self.responses]

    def replace(self, items: Sequence[Item]) -> None:
        """The same items, with images that were loaded again."""
        self.items |= {item.item_id: item for item in items}

    def receive(self, part: Sequence[Response]) -> None:
        """Some responses; those to items that have one already are ignored."""
        new = [response for response in part if response.item_id not in self.responses]
        self.responses |= {response.item_id: response for response in new}
        if new and self.on_responses is not None:
            self.on_responses([self.items[response.item_id] for response in new], new)

    def close(self) -> list[Response]:
        """All responses in the order of the items; later ones are not handed on."""
        self.on_responses = None
        return [self.responses[i] for i in self.items if i in self.responses]
