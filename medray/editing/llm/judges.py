"""Several models in sequence score how much a pair matters (after MMedPO, arXiv 2412.06141)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.llm.chat import Chat
from medray.editing.llm.completion import Dialogue
from medray.editing.llm.replies import ScoreReply
from medray.errors import ItemError

ROUNDS = 5
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is None if no judge was usable: the severity of the edit is used instead."""

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


def score(chat: Chat, judges: Sequence[str], pair: dict[str, str]) -> Dialogue[Score]:
    """The judges' joint score of a pair {question, reference, correct, incorrect}.

    The first judge gives a score; each later one agrees with the current score or gives a new one,
    which then becomes current. They take turns until all others agree with the judge who gave the
    current score, or for five rounds of one judge's turn each. The value is the mean of the scores
    given. A judge without a usable reply is excluded from then on.
    """
    remaining = list(judges)
    scores: list[float] = []
    rounds = agreed = turn = skipped = 0
    while remaining and rounds < ROUNDS and not (scores and agreed >= len(remaining) - 1):
        judge = remaining[turn % len(remaining)]
        try:
            new = yield from _ask(chat, judge, pair, scores)
        except ItemError:
            position = turn % len(remaining)
            del remaining[position]
            turn, skipped = position, skipped + 1
            continue
        rounds, turn = rounds + 1, turn + 1
        if new is None:
            agreed += 1
        else:
            scores.append(new)
            agreed = 0
    value = statistics.fmean(scores) if scores else None
    return Score(value, rounds, skipped, bool(scores) and agreed >= len(remaining) - 1)


def _ask(
    chat: Chat, judge: str, pair: dict[str, str], scores: Sequence[float]
) -> Dialogue[float | None]:
    """A new score, or None for agreement."""
    inputs = {**pair, "earlier": list(scores)}
    reply = yield from chat.ask(judge, "relevance", inputs, ScoreReply)
    if scores and (reply.agree or reply.score == scores[-1]):
        return None
    if reply.score is None:
        raise ItemError("llm-malformed", "neither agreement nor a score")
    return reply.score
