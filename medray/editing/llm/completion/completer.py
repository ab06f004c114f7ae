"""What completes chat prompts, and how many dialogues with it proceed side by side.

A dialogue is a generator: it yields the body of a request, is sent the text of the reply (or gets
the ItemError thrown into it), and returns its result. So code that judges one answer reads as if it
were alone, and the requests of many answers still go out together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from medray.errors import ItemError

Body = dict[str, Any]  # of an OpenAI-compatible chat request
T = TypeVar("T")
_GRACE = 5.0  # seconds after the deadline of a batch
Dialogue = Generator[Body, str, T]


class Completer(Protocol):
    """Completes chat requests, at temperature 0.

    `constrained`: replies are made to fit the JSON schema that the request names.
    `threads`: dialogues that proceed independently of each other; 0: all of them step by step, so
    that the requests of one step are one batch.
    """

    constrained: bool
    threads: int

    def identity(self, model: str) -> str:
        """The model as the ledger names it and the cache keys it."""

    def complete(self, bodies: Sequence[Body], until: float) -> list[str | ItemError]:
        """One text, or the reason for its absence, per request. `until`: a time.monotonic()."""


class Unserved:
    """The place of a model that is not served here; plans and tools need no more."""

    constrained, threads = True, 0

    def identity(self, model: str) -> str:
        return model

    def complete(self, bodies: Sequence[Body], until: float) -> list[str | ItemError]:
        return [ItemError("llm-unavailable", "no engine serves the model here") for _ in bodies]


class Budget:
    """The number of requests that one client may still send, over all its threads."""

    def __init__(self, limit: int | None, section: str) -> None:
        self._left, self._section = limit, section
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Raises ItemError if nothing is left."""
        with self._lock:
            if self._left is None:
                return
            if self._left <= 0:
                raise ItemError("llm-budget", f"the requests of {self._section}.budget are used up")
            self._left -= 1


def converse(
    dialogues: Sequence[Dialogue[T]], completer: Completer, until: float
) -> list[T | ItemError]:
    """The result of every dialogue, in order."""
    if not completer.threads:
        return _step_by_step(dialogues, completer, until)
    pool = ThreadPoolExecutor(completer.threads, "llm-editor")
    try:
        alone = [pool.submit(_step_by_step, [one], completer, until) for one in dialogues]
        wait(alone, timeout=max(0.0, until - time.monotonic()) + _GRACE)
        # A name server, of all things, has no deadline: nothing is waited for without one.
        late = ItemError("llm-unreachable", "no reply by the end of the batch")
        return [one.result()[0] if one.done() and not one.cancelled() else late for one in alone]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _step_by_step(
    dialogues: Sequence[Dialogue[T]], completer: Completer, until: float
) -> list[T | ItemError]:
    results: dict[int, T | ItemError] = {}
    replies: dict[int, str | ItemError | None] = dict.fromkeys(range(len(dialogues)))
    while replies:
        bodies: dict[int, Body] = {}
        for index, reply in replies.items():
            try:
                bodies[index] = _proceed(dialogues[index], reply)
            except StopIteration as end:
                results[index] = end.value
            except ItemError as error:
                results[index] = error
        completed = completer.complete(list(bodies.values()), until) if bodies else []
        replies = dict(zip(bodies, completed, strict=True))
    return [results[index] for index in range(len(dialogues))]


def _proceed(dialogue: Dialogue[T], reply: str | ItemError | None) -> Body:
    """The next request of a dialogue. Raises StopIteration with its result at its end."""
    if reply is None:
        return next(dialogue)
    return dialogue.throw(reply) if isinstance(reply, ItemError) else dialogue.send(reply)
