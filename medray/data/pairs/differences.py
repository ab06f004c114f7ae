"""In which characters two texts differ, word by word: the spans of a pair that states none."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from medray.records import Span

GIVEN = "given"  # the error type of a difference whose meaning nobody has read
_PIECE = re.compile(r"\w+|\s+|[^\w\s]")


def differences(chosen: str, rejected: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans of `chosen` and of `rejected` in which they differ; those at the same index belong
    together, and one of them may be empty.

    >>> [(s.start, s.end) for s in differences("The left lung.", "The right lung.")[1]]
    [(4, 9)]
    """
    (chosen_starts, chosen_pieces), (rejected_starts, rejected_pieces) = map(
        _pieces, (chosen, rejected)
    )
    matcher = SequenceMatcher(None, chosen_pieces, rejected_pieces, autojunk=False)
    changed = [operation for operation in matcher.get_opcodes() if operation[0] != "equal"]
    return (
        tuple(_span(chosen_starts, i1, i2) for _, i1, i2, _, _ in changed),
        tuple(_span(rejected_starts, j1, j2) for _, _, _, j1, j2 in changed),
    )


def _pieces(text: str) -> tuple[list[int], list[str]]:
    """Where each piece starts, and behind them the end of the text; and the pieces."""
    found = list(_PIECE.finditer(text))
    return [match.start() for match in found] + [len(text)], [match.group() for match in found]


def _span(starts: list[int], first: int, last: int) -> Span:
    return Span(starts[first], starts[last], GIVEN, 0.0, "")
