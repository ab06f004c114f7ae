"""Finds, in a call that takes actors along, the rows that do it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar

from actors.fleet.calls import JobLost

T = TypeVar("T")
R = TypeVar("R")


class Trial(TypedDict, total=False):
    """How patient `Pool.run` is with a call; its arguments of these names."""

    limit: int
    suspect: bool


@dataclass(slots=True)
class Found(Generic[T, R]):
    """What calls gave, each with its rows, in their order; and the rows that have no result."""

    results: list[tuple[Sequence[T], R]] = field(default_factory=list)
    broken: list[tuple[T, JobLost]] = field(default_factory=list)


async def bisect(
    rows: Sequence[T], call: Callable[[Sequence[T], Trial], Awaitable[R]]
) -> Found[T, R]:
    """The results of `call` on all rows but those that take actors along, however they do it.

    A call of many rows is halved once it has lost two actors, or hung once; a single row is given
    up only if it is the last that is left of such a call and takes two more along, or three alone.
    """
    trial: Trial = {"limit": 2} if len(rows) > 1 else {}
    return await _try(rows, call, trial)


async def _try(
    rows: Sequence[T], call: Callable[[Sequence[T], Trial], Awaitable[R]], trial: Trial
) -> Found[T, R]:
    try:
        return Found([(rows, await call(rows, trial))])
    except JobLost as lost:
        if len(rows) == 1:
            return Found(broken=[(rows[0], lost)])
    middle = len(rows) // 2
    halves = [rows[:middle], rows[middle:]]
    tries = [_try(h, call, {"limit": 1 if len(h) > 1 else 2, "suspect": True}) for h in halves]
    first, second = await _both(tries)
    return Found(first.results + second.results, first.broken + second.broken)


async def _both(tries: Sequence[Any]) -> list[Any]:
    """Both results; if one fails for good, the other is not left running."""
    tasks = [asyncio.ensure_future(one) for one in tries]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
