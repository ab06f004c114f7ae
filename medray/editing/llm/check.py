"""The checks that a model's replacements must pass. Pure functions; each reports what failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from medray.editing.base import Replacement, arrange, build_edit, edit_fraction
from medray.editing.llm.replies import ReplacementReply
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.errors import ItemError
from medray.records import Edit

SHORT_ANSWER = 4  # words; in a shorter one a single word is a large fraction, but a small edit
_PIECES = re.compile(r"\w+|\s+|[^\w\s]")

CheckResult = Literal["holds", "fails", "unknown"]


def located(answer: str, replies: Sequence[ReplacementReply]) -> list[tuple[Replacement, float]]:
    """Each reply's replacement in the answer, trimmed to what differs, with its severity.

    Raises ItemError: llm-span-not-found, or llm-malformed if replacements overlap or change
    nothing.
    """
    replacements = []
    for reply in replies:
        if reply.original == reply.corrected:
            raise ItemError("llm-malformed", "a replacement that changes nothing")
        item = Replacement(*_find(answer, reply), reply.corrected, reply.error_type, reply.reason)
        replacements.append((_trimmed(answer, item), reply.severity))
    replacements.sort(key=lambda pair: (pair[0].start, pair[0].end))
    items = [item for item, _ in replacements]
    if list(arrange(answer, items)) != items:
        raise ItemError("llm-malformed", "replacements overlap")
    return replacements


def checked_edit(
    verdict: Literal["right", "wrong"],
    answer: str,
    replies: Sequence[ReplacementReply],
    limit: float,
) -> Edit:
    """The edit, applied by us: everything outside the spans is the answer's own text.

    `limit` is the fraction of the words that it may touch on either side.
    Raises ItemError: as `located`, llm-not-minimal, or llm-malformed if no text is left.
    """
    replacements = located(answer, replies)
    if not replacements:
        raise ItemError("llm-malformed", "a verdict without replacements")
    reason = "; ".join(dict.fromkeys(item.reason for item, _ in replacements))
    edit = build_edit(
        verdict,
        answer,
        [item for item, _ in replacements],
        ontology().severity,
        reason if verdict == "wrong" else "agrees with the reference",
    )
    if not re.search(r"\w", edit.text):
        raise ItemError("llm-malformed", "nothing is left of the answer")
    _require_small(answer, edit, limit)
    severities = [severity for _, severity in replacements]
    answer_spans, text_spans = (
        tuple(replace(s, severity=v) for s, v in zip(spans, severities, strict=True))
        for spans in (edit.answer_spans, edit.text_spans)
    )
    return replace(edit, answer_spans=answer_spans, text_spans=text_spans)


def by_rules(question: str, reference: str, answer: str, edit: Edit) -> CheckResult:
    """What the rules conclude about an edit, "unknown" if they do not understand it.

    A correction holds if the answer was contradicted and the new text agrees; a variant, if it
    is the other way round. Either fails if the rules contradict the side that would be chosen.
    """
    known = facts(question, reference)
    before, after = judge(answer, known).verdict, judge(edit.text, known).verdict
    old, new = (before, after) if edit.verdict == "wrong" else (after, before)
    if new == "wrong":
        return "fails"
    return "holds" if (old, new) == ("wrong", "right") else "unknown"


def _find(answer: str, reply: ReplacementReply) -> tuple[int, int]:
    """The characters that a reply replaces: complete words, and without ambiguity."""
    original = reply.original
    before = r"(?<!\w)" if re.match(r"\w", original) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", original) else ""
    positions = [m.span() for m in re.finditer(before + re.escape(original) + after, answer)]
    if reply.occurrence is None and len(positions) != 1:
        why = f"the words occur {len(positions)} times in the answer, and no occurrence is given"
        raise ItemError("llm-span-not-found", why)
    number = reply.occurrence or 1
    if number > len(positions):
        why = f"occurrence {number} of {len(positions)}"
        raise ItemError("llm-span-not-found", why)
    return positions[number - 1]


def _trimmed(answer: str, item: Replacement) -> Replacement:
    """The replacement without the words and blanks that both sides begin or end with."""
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
    """Checks both sides: an insertion touches no word of the answer, but may still be long."""
    touched = max(
        edit_fraction(answer, edit.answer_spans), edit_fraction(edit.text, edit.text_spans)
    )
    short = len(answer.split()) < SHORT_ANSWER and len(edit.text.split()) <= 2 * SHORT_ANSWER
    if touched > limit and not short:
        raise ItemError("llm-not-minimal", f"{touched:.0%} of the words would change")
