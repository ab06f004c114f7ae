"""What a model's replacements must pass. Pure functions; each says what failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from medray.editing.base import Replacement, arrange, build_edit, edit_fraction
from medray.editing.llm.replies import Change
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.errors import ItemError
from medray.records import Edit

SHORT_ANSWER = 4  # words; below, one wrong word is most of the answer and still a small edit
_PIECES = re.compile(r"\w+|\s+|[^\w\s]")

Finding = Literal["holds", "fails", "unknown"]


def located(answer: str, changes: Sequence[Change]) -> list[tuple[Replacement, float]]:
    """Where each change stands in the answer, cut down to what differs, with its severity.

    Raises ItemError: llm-span-not-found, or llm-malformed where changes overlap or change nothing.
    """
    found = []
    for change in changes:
        if change.original == change.corrected:
            raise ItemError("llm-malformed", "a replacement that changes nothing")
        item = Replacement(
            *_place(answer, change), change.corrected, change.error_type, change.reason
        )
        found.append((_trimmed(answer, item), change.severity))
    found.sort(key=lambda pair: (pair[0].start, pair[0].end))
    if list(arrange(answer, [item for item, _ in found])) != [item for item, _ in found]:
        raise ItemError("llm-malformed", "replacements overlap")
    return found


def made(
    verdict: Literal["right", "wrong"], answer: str, changes: Sequence[Change], limit: float
) -> Edit:
    """The edit, made by us: all that lies outside the spans is the answer's own text.

    `limit` is the share of the words that it may touch on either side.
    Raises ItemError: as `located`, llm-not-minimal, or llm-malformed where no text is left.
    """
    found = located(answer, changes)
    if not found:
        raise ItemError("llm-malformed", "a verdict without replacements")
    reason = "; ".join(dict.fromkeys(item.reason for item, _ in found))
    edit = build_edit(
        verdict,
        answer,
        [item for item, _ in found],
        ontology().severity,
        reason if verdict == "wrong" else "agrees with the reference",
    )
    if not re.search(r"\w", edit.text):
        raise ItemError("llm-malformed", "nothing is left of the answer")
    _require_small(answer, edit, limit)
    severities = [severity for _, severity in found]
    answer_spans, text_spans = (
        tuple(replace(s, severity=v) for s, v in zip(spans, severities, strict=True))
        for spans in (edit.answer_spans, edit.text_spans)
    )
    return replace(edit, answer_spans=answer_spans, text_spans=text_spans)


def offline(question: str, reference: str, answer: str, edit: Edit) -> Finding:
    """What the rules say of an edit, where they understand the matter.

    A correction holds where the answer was contradicted and the new text agrees; a variant where
    it is the other way round. It fails where the rules contradict what is to be the chosen side.
    """
    known = facts(question, reference)
    before, after = judge(answer, known).verdict, judge(edit.text, known).verdict
    old, new = (before, after) if edit.verdict == "wrong" else (after, before)
    if new == "wrong":
        return "fails"
    return "holds" if (old, new) == ("wrong", "right") else "unknown"


def _place(answer: str, change: Change) -> tuple[int, int]:
    """The characters that a change replaces: whole words, and without doubt which."""
    original = change.original
    before = r"(?<!\w)" if re.match(r"\w", original) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", original) else ""
    spots = [m.span() for m in re.finditer(before + re.escape(original) + after, answer)]
    if change.occurrence is None and len(spots) != 1:
        why = f"the words stand in the answer {len(spots)} times, and it is not said where"
        raise ItemError("llm-span-not-found", why)
    number = change.occurrence or 1
    if number > len(spots):
        why = f"occurrence {number} of {len(spots)}"
        raise ItemError("llm-span-not-found", why)
    return spots[number - 1]


def _trimmed(answer: str, item: Replacement) -> Replacement:
    """Without the words and blanks that both sides begin or end with."""
    old, new = _PIECES.findall(answer[item.start : item.end]), _PIECES.findall(item.text)
    start, end = item.start, item.end
    while old and new and old[0] == new[0]:
        start += len(old.pop(0))
        new.pop(0)
    while old and new and old[-1] == new[-1]:
        end -= len(old.pop())
        new.pop()
    return replace(item, start=start, end=end, text="".join(new))


def _require_small(answer: str, edit: Edit, limit: float) -> None:
    """On both sides: an insertion touches no word of the answer, and may still be long."""
    touched = max(
        edit_fraction(answer, edit.answer_spans), edit_fraction(edit.text, edit.text_spans)
    )
    short = len(answer.split()) < SHORT_ANSWER and len(edit.text.split()) <= 2 * SHORT_ANSWER
    if touched > limit and not short:
        raise ItemError("llm-not-minimal", f"{touched:.0%} of the words would change")
