"""Draw cases whose answers are to be graded: evenly over error types, sides in random order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from medray.editing.language.markup import final_text
from medray.editing.ontology.lexicon import ontology
from medray.errors import DataError
from medray.evaluation.answers import AnswerRow
from medray.review.draw import spread
from medray.review.key import AnswerEntry, AnswerKey, Side
from medray.seeds import stream

NONE = "none found"  # the error type of an answer in which the rules find no error
Answers = tuple[AnswerRow, ...]  # to one case, of each evaluation


def draw_answers(
    evaluations: Sequence[tuple[str, Sequence[AnswerRow]]], n: int, seed: int, salt: str
) -> tuple[list[dict[str, Any]], AnswerKey]:
    """At most `n` cases in the order of the page, as rows with what it shows, and the key to them.

    evaluations: one or two, as (name, scored answers). Of two, cases are drawn to which both have
    different answers. Every type of error that the rules find (of two answers, the worse one) gives
    the same number of cases, as long as it has any. `salt`: what readers do not know. The same
    arguments give the same page and key. Raises DataError if no case can be drawn.
    """
    sources = tuple(name for name, _ in evaluations)
    cases = [answers for answers in _by_case([rows for _, rows in evaluations]) if _differ(answers)]
    if not cases:
        why = "no case has two different answers" if len(sources) == 2 else "there is no answer"
        raise DataError(" and ".join(sources), why, "give other evaluations")
    by_group: dict[str, list[Answers]] = {}
    for answers in cases:
        by_group.setdefault(_worst(map(error_type, answers)), []).append(answers)
    salt = _digest(salt, cases)
    source = stream(seed, f"review of {n} answers, {salt}")
    drawn = spread(by_group, n, source)
    source.shuffle(drawn)
    sides: list[Side] = ["A" if i % 2 or len(sources) == 1 else "B" for i in range(len(drawn))]
    source.shuffle(sides)
    entries = {}
    for answers, side in zip(drawn, sides, strict=True):
        types = tuple(map(error_type, answers))
        entries[f"{source.getrandbits(64):016x}"] = AnswerEntry(
            answers[0].case.case_id, side, types, tuple(a.verdict for a in answers), _worst(types)
        )
    answered = {name: len(by_group[name]) for name in sorted(by_group)}
    return [_shown(answers) for answers in drawn], AnswerKey(entries, sources, answered, salt)


def error_type(row: AnswerRow) -> str:
    """The most severe type of error that the rules find in an answer; NONE without one."""
    prefix = "contradicted/"
    names = [name for name, count in row.statistics.items() if name.startswith(prefix) and count]
    return _worst(name.removeprefix(prefix) for name in names)


def _worst(types: Any) -> str:
    severity = ontology().severity
    return max(types, key=lambda name: (severity.get(name, -1.0), name), default=NONE)


def _by_case(sides: Sequence[Sequence[AnswerRow]]) -> list[Answers]:
    others = [{row.case.case_id: row for row in side} for side in sides[1:]]
    return [
        (row, *(other[row.case.case_id] for other in others))
        for row in sides[0]
        if all(row.case.case_id in other for other in others)
    ]


def _differ(answers: Answers) -> bool:
    """Whether the answers to a case can be told apart; a single one always can."""
    texts = {" ".join(final_text(row.answer).split()).casefold() for row in answers}
    return len(texts) == len(answers)


def _shown(answers: Answers) -> dict[str, Any]:
    """What the page needs, in the columns of a pair in the ledger: of two answers the first is in
    the place of the chosen side."""
    case, texts = answers[0].case, [row.answer for row in answers]
    return {
        "case_id": case.case_id,
        "image_sha256": case.image_sha256,
        "question": case.question,
        "reference": case.reference,
        "scope": "answer",
        "prefix": "",
        "chosen": texts[0],
        "rejected": texts[1] if len(texts) > 1 else None,
    }


def _digest(salt: str, cases: Sequence[Answers]) -> str:
    digest = hashlib.sha256(salt.encode())
    for answers in cases:
        for row in answers:
            line = f"{row.case.case_id}\0{row.answer}\0{row.confidence}\n"
            digest.update(line.encode("utf-8", "replace"))
    return digest.hexdigest()
