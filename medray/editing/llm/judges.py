"""Several models in sequence say how much a pair matters (after MMedPO, arXiv 2412.06141)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.llm.chat import Chat
from medray.editing.llm.replies import ScoreReply
from medray.errors import ItemError

ROUNDS = 5
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is None where no judge could be used: the severity of the edit serves instead."""

    value: float | None
    rounds: int
    skipped: int
    consensus: bool

    @property
    def note(self) -> str:
        """For the ledger, after the editor's name.

        >>> Score(0.5, 3, 1, True).note
        'relevance=judges/1 rounds:3 skipped:1 consensus:yes'
        """
        if self.value is None:
            return f"relevance=severity skipped:{self.skipped}"
        agreed = "yes" if self.consensus else "no"
        return (
            f"relevance=judges/{VERSION} rounds:{self.rounds} skipped:{self.skipped} "
            f"consensus:{agreed}"
        )


def score(
    chat: Chat, judges: Sequence[str], pair: dict[str, str], *, until: float = float("inf")
) -> Score:
    """The judges' common score of a pair {question, reference, correct, incorrect}.

    The first gives a score; each one after it agrees with the one that stands or gives another,
    which then stands. They take turns until all others agree with the one who gave the standing
    score, or for five rounds, one judge's turn each. The value is the mean of the scores given.
    A judge without a usable reply is left out from then on.
    """
    seats = list(judges)
    given: list[float] = []
    rounds = agreed = turn = skipped = 0
    while seats and rounds < ROUNDS and not (given and agreed >= len(seats) - 1):
        judge = seats[turn % len(seats)]
        try:
            new = _ask(chat, judge, pair, given, until)
        except ItemError:
            position = turn % len(seats)
            del seats[position]
            turn, skipped = position, skipped + 1
            continue
        rounds, turn = rounds + 1, turn + 1
        if new is None:
            agreed += 1
        else:
            given.append(new)
            agreed = 0
    value = statistics.fmean(given) if given else None
    return Score(value, rounds, skipped, bool(given) and agreed >= len(seats) - 1)


def _ask(
    chat: Chat, judge: str, pair: dict[str, str], given: Sequence[float], until: float
) -> float | None:
    """A new score, or None for agreement."""
    inputs = {**pair, "earlier": list(given)}
    reply = chat.ask(judge, "relevance", inputs, ScoreReply, until=until)
    if given and (reply.agree or reply.score == given[-1]):
        return None
    if reply.score is None:
        raise ItemError("llm-malformed", "neither agreement nor a score")
    return reply.score
