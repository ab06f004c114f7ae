"""The checks that a model's replacements must pass. Pure functions; each reports what failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from medray.editing.base import Replacement, arrange, build_edit, edit_fraction
from medray.editing.guard import Proposal, later_stand, projected, refusal, stands_alone
from medray.editing.language.english import is_english
from medray.editing.llm.acceptance import odd_wording
from medray.editing.llm.replies import ReplacementReply
from medray.editing.llm.task import EditTask
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import judge
from medray.editing.sentences import split
from medray.errors import ItemError
from medray.records import Edit, EditedSentence

MIN_PATIENT_ID = 4  # characters; a shorter patient id is a word or number of any text
SHORT_ANSWER = 4  # words; in a shorter one a single word is a large fraction, but a small edit
# Reasons of the guard that hold nothing against a pair, but that the rules do not understand it.
UNCONFIRMED = frozenset({"rejected-not-wrong", "chosen-unconfirmed"})
_PIECES = re.compile(r"\w+|\s+|[^\w\s]")

CheckResult = Literal["holds", "fails", "unknown"]


def require_anonymous(task: EditTask) -> None:
    """Raises ItemError("llm-identifier") if a text of the task names its patient."""
    patient = task.patient_id.strip()
    if len(patient) < MIN_PATIENT_ID:
        return
    text = "\n".join((task.question, task.reference, task.answer))
    if re.search(rf"(?<!\w){re.escape(patient)}(?!\w)", text, re.IGNORECASE):
        raise ItemError("llm-identifier", "the texts hold the patient's id")


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


def guarded(task: EditTask, edit: Edit, *, verified: bool = False) -> Edit:
    """The edit with those of its sentences that the guard finds sure; an abstention without any.

    `verified`: what the reference neither confirms nor contradicts, as the rules read it, counts as
    sure too. `text` is kept if all is sure and the rest of the answer does not lean on the change.
    """
    known, parts = facts(task.question, task.reference), split(task.answer)
    drafts = list(projected(task.answer, parts, edit))
    reasons = [_refusal(known, task, edit, draft, verified) for draft in drafts]
    tolerated = {"", *UNCONFIRMED} if verified else {""}
    sure = [d for d, reason in zip(drafts, reasons, strict=True) if reason in tolerated]
    if not sure:
        return Edit("abstain", reason=reasons[0] if reasons else "cannot-rewrite")
    complete = len(sure) == len(drafts) and _rest_stands(known, task.answer, edit, sure)
    sure.sort(key=lambda sentence: -max(span.severity for span in sentence.answer_spans))
    if complete:
        return replace(edit, sentences=tuple(sure))
    return Edit(edit.verdict, reason=edit.reason, sentences=tuple(sure))


def _refusal(
    known: Facts, task: EditTask, edit: Edit, draft: EditedSentence, verified: bool
) -> str:
    """What speaks against one sentence; that the model has read it itself speaks for its words."""
    prefix, sentence = task.answer[: draft.start], task.answer[draft.start : draft.end]
    if reason := refusal(Proposal(known, prefix, sentence, draft, edit.verdict)):
        return reason
    if verified:
        return ""
    corrects = edit.verdict == "wrong"
    odd = odd_wording(
        sentence, draft, task.reference, task.answer, task.question, corrects=corrects
    )
    return "llm-wording" if odd else ""


def _rest_stands(known: Facts, answer: str, edit: Edit, drafts: Sequence[EditedSentence]) -> bool:
    """Whether the sentences that the edit leaves alone are as true behind it as before."""
    parts = split(answer)
    if edit.verdict == "right":
        return len(drafts) == 1 and later_stand(answer, parts, drafts[0], known)
    changes = [
        Replacement(old.start, old.end, edit.text[new.start : new.end], old.error_type, old.reason)
        for old, new in zip(edit.answer_spans, edit.text_spans, strict=True)
    ]
    after = judge(edit.text, known)
    return stands_alone(answer, parts, changes, after, len(edit.text) - len(answer))


def by_rules(question: str, reference: str, answer: str, edit: Edit) -> CheckResult:
    """What the rules conclude about an edit, "unknown" if they do not understand it.

    A correction holds if the answer was contradicted and the new text agrees; a variant, if it
    is the other way round. Either fails if the rules contradict the side that would be chosen, or
    agree with the one that would be rejected.
    """
    if not all(map(is_english, (question, reference, answer))):
        return "unknown"
    known = facts(question, reference)
    before, after = judge(answer, known).verdict, judge(edit.text, known).verdict
    old, new = (before, after) if edit.verdict == "wrong" else (after, before)
    if new == "wrong" or old == "right":
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
