"""Passes an editor's edit through the guard, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from medray.editing.base import Replacement
from medray.editing.clauses import is_general
from medray.editing.guard.refusal import Proposal, refusal
from medray.editing.guard.truth import agreements_in, conflicts_in
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import Judgement, judge
from medray.editing.sentences import Sentence, split
from medray.records import Edit, EditedSentence, Span

_ANAPHORA = re.compile(
    r"\W*(?:this|it|its|these|those|that|they|their|such|further|in\s+this\s+case|therefore|thus|"
    r"however|additionally|overall|the\s+(?:condition|findings?|abnormality|disease|same|cause|presence|"
    r"opacity|opacities|lesions?|mass|masses|nodules?|collection|area))"
    r"\b",
    re.IGNORECASE,
)


def guarded(question: str, reference: str, answer: str, edit: Edit, *, start: int = 0) -> Edit:
    """The edit with those of its sentences that are sure; an abstention, with the guard's reason,
    if none is.

    `text` is kept if all its changes are sure and the answer has one sentence. Only sentences that
    begin at or after the character `start` count.
    """
    if edit.verdict == "abstain":
        return edit
    known = facts(question, reference)
    sure, reasons = [], []
    parts = split(answer)
    for draft in projected(answer, parts, edit):
        if draft.start < start:
            continue
        sentence = answer[draft.start : draft.end]
        reason = refusal(Proposal(known, answer[: draft.start], sentence, draft, edit.verdict))
        if reason:
            reasons.append(reason)
        else:
            sure.append(draft)
    if not sure:
        return Edit("abstain", reason=reasons[0] if reasons else "cannot-rewrite")
    sure.sort(key=lambda s: -max(span.severity for span in s.answer_spans))
    if len(parts) == 1 and not reasons:
        return replace(edit, sentences=tuple(sure))
    return Edit(edit.verdict, reason=edit.reason, sentences=tuple(sure))


def projected(answer: str, parts: Sequence[Sentence], edit: Edit) -> Iterator[EditedSentence]:
    """Each changed sentence of an edit of the whole answer, alone."""
    groups: dict[int, list[tuple[Span, Span]]] = {}
    for old, new in zip(edit.answer_spans, edit.text_spans, strict=True):
        part = next((p for p in parts if p.start <= old.start and old.end <= p.end), None)
        if part is None:
            return  # a change across sentences is not one of a sentence
        groups.setdefault(part.number, []).append((old, new))
    for number, spans in groups.items():
        part = parts[number]
        yield _sentence(answer, part, spans, edit)


def _sentence(
    answer: str, part: Sentence, spans: Sequence[tuple[Span, Span]], edit: Edit
) -> EditedSentence:
    pieces: list[str] = []
    answer_spans, text_spans = [], []
    position, length = part.start, 0
    for old, new in spans:
        pieces += [answer[position : old.start], edit.text[new.start : new.end]]
        length += old.start - position
        answer_spans.append(replace(old, start=old.start - part.start, end=old.end - part.start))
        text_spans.append(replace(new, start=length, end=length + new.end - new.start))
        length += new.end - new.start
        position = old.end
    pieces.append(answer[position : part.end])
    return EditedSentence(
        part.number,
        part.start,
        part.end,
        "".join(pieces),
        tuple(answer_spans),
        tuple(text_spans),
        edit.reason,
    )


def leans(answer: str, parts: Sequence[Sentence], judgement: Judgement) -> bool:
    """Whether a sentence behind a wrong one takes it up, and says nothing itself that is judged."""
    wrong = False
    for part in parts:
        if conflicts_in(judgement, part.start, part.end):
            wrong = True
            continue
        sentence = answer[part.start : part.end]
        agrees = agreements_in(judgement, part.start, part.end)
        if wrong and not agrees and _leans(sentence, set()):
            return True
    return False


def stands_alone(
    answer: str,
    parts: Sequence[Sentence],
    changes: Sequence[Replacement],
    after: Judgement,
    shift: int,
) -> bool:
    """Whether the sentences behind the first change, unchanged themselves, do not lean on it.

    `after` is the judgement of the answer with all changes made, `shift` its growth: a sentence
    behind all changes that agrees with the reference stands.
    """
    removed = _words(" ".join(answer[c.start : c.end] for c in changes))
    last = changes[-1].end
    for part in parts:
        if part.end <= changes[0].start or any(
            part.start <= c.start and c.end <= part.end for c in changes
        ):
            continue
        agrees = part.start >= last and bool(
            agreements_in(after, part.start + shift, part.end + shift)
        )
        if not agrees and _leans(answer[part.start : part.end], removed):
            return False
    return True


def later_stand(
    answer: str, parts: Sequence[Sentence], variant: EditedSentence, known: Facts
) -> bool:
    """Whether the rest of a right answer does not contradict, or lean on, its varied sentence."""
    removed = _words(
        " ".join(
            answer[variant.start + s.start : variant.start + s.end] for s in variant.answer_spans
        )
    )
    claimed = facts(known.question, variant.text)
    for part in parts:
        if part.number == variant.sentence:
            continue
        sentence = answer[part.start : part.end]
        if part.number > variant.sentence and _leans(sentence, removed):
            return False
        if judge(sentence, claimed).verdict == "wrong":
            return False
    return True


def _leans(sentence: str, removed: set[str]) -> bool:
    words = set(re.findall(r"\w+", sentence.lower()))
    return bool(_ANAPHORA.match(sentence) or removed & words or is_general(sentence, first=False))


def _words(text: str) -> set[str]:
    small = {"there", "with", "shows", "show", "image", "seen"}
    return set(re.findall(r"\w{4,}|left", text.lower())) - small
