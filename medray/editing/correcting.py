"""The corrections of a wrong answer: of each wrong sentence alone, and of the answer as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from medray.editing.base import Replacement, apply, arrange, build_edit, build_sentence, in_answer
from medray.editing.guard import Proposal, leans, projected, refusal, stands_alone
from medray.editing.guard.truth import agreements_in, conflicts_in, position
from medray.editing.guard.unsaid import first_unsaid
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement, judge
from medray.editing.rewriting.rewrite import candidates
from medray.editing.rewriting.tidy import tidied
from medray.editing.sentences import MOST, Sentence
from medray.records import Edit, EditedSentence

_PHRASE = re.compile(  # where a sentence could have ended
    r"\s*[,;:–—]\s+(?:(?:and|but|while|whereas|with|which)\s+)?|\s+-\s+|"
    r"\s+(?:with|which|that|because|as|near|close|adjacent|next|beneath|below|above|behind|and|"
    r"whereas|while|but|in|on|at|relative|due|for|from|visible|seen|causing|measuring)\b",
    re.IGNORECASE,
)


def corrected_sentences(
    answer: str, parts: Sequence[Sentence], judgement: Judgement, known: Facts, start: int
) -> tuple[tuple[EditedSentence, ...], str]:
    """The sentences whose correction is sure, the most severe error first; and why not, if none.

    Each is judged behind what the answer said before it; behind the first MOST, none is tried.
    """
    sure: list[EditedSentence] = []
    refused = "cannot-rewrite"
    later = (part for part in parts if part.start >= start)
    wrong = (part for part in later if conflicts_in(judgement, part.start, part.end))
    for part in islice(wrong, MOST):
        context = answer[: part.end]
        last = part is parts[-1]
        result = _corrected(context, part, judgement if last else judge(context, known), known)
        if isinstance(result, EditedSentence):
            sure.append(result)
        elif refused == "cannot-rewrite":
            refused = result
    sure.sort(key=lambda s: -max(span.severity for span in s.answer_spans))
    return tuple(sure), refused


def corrected_answer(
    answer: str,
    parts: Sequence[Sentence],
    judgement: Judgement,
    known: Facts,
    sentences: tuple[EditedSentence, ...],
    refused: str,
    start: int,
) -> Edit:
    """The edit of a wrong answer: its sentences, and the whole text if that is sure too."""
    if len(parts) == 1 and sentences:
        return in_answer("wrong", answer, sentences[0])
    wrong = sum(bool(conflicts_in(judgement, part.start, part.end)) for part in parts)
    several = start == 0 and len(parts) > 1 and bool(sentences) and wrong <= MOST
    changes = _whole(answer, parts, judgement, known) if several else None
    if changes is not None:
        edit = build_edit("wrong", answer, changes, ontology().severity, _why(changes))
        return replace(edit, sentences=sentences)
    if sentences:
        return Edit("wrong", reason=sentences[0].reason, sentences=sentences)
    return Edit("abstain", reason=refused)


def _corrected(
    context: str, part: Sentence, judgement: Judgement, known: Facts
) -> EditedSentence | str:
    """The first correction of the context's last sentence that is sure, or why there is none."""
    conflicts = conflicts_in(judgement, part.start)
    if not conflicts:
        return "cannot-rewrite"
    sentence = context[part.start :]
    kept = _right(judgement, part)
    refused = "cannot-rewrite"
    for candidate in candidates(replace(judgement, comparisons=tuple(conflicts)), known):
        changes = tidied(context, part, candidate, known.question, kept)
        if not changes or changes[0].start < part.start or changes[-1].end > part.end:
            continue
        edited = build_sentence(context, part, changes, ontology().severity, _why(changes))
        proposal = Proposal(known, context[: part.start], sentence, edited, "wrong")
        reason = refusal(proposal, judgement)
        if reason == "unsaid" and (shorter := _without_unsaid(sentence, edited, changes, known)):
            edited = build_sentence(context, part, shorter, ontology().severity, _why(changes))
            reason = refusal(replace(proposal, edited=edited), judgement)
        if not reason:
            return edited
        refused = reason if refused == "cannot-rewrite" else refused
    return refused


def _without_unsaid(
    sentence: str, edited: EditedSentence, changes: Sequence[Replacement], known: Facts
) -> tuple[Replacement, ...]:
    """The changes, and the end of the sentence cut, from the phrase behind them on that says what
    neither question nor reference does; none if that phrase does not stand behind them."""
    unsaid = first_unsaid(known, edited.text, edited.text_spans)
    last = edited.text_spans[-1].end
    if unsaid is None or unsaid < last:
        return ()
    phrases = list(_PHRASE.finditer(edited.text, last, unsaid))
    while (
        len(phrases) > 1 and len(edited.text[phrases[-2].end() : phrases[-1].start()].split()) < 2
    ):
        phrases.pop()  # ", visible as": one phrase
    if not phrases:
        return ()
    start = edited.start + phrases[-1].start() + len(sentence) - len(edited.text)
    end = edited.start + len(sentence.rstrip(" .!?\n"))
    return (*changes, replace(changes[-1], start=start, end=end, text=""))


def _whole(
    answer: str, parts: Sequence[Sentence], judgement: Judgement, known: Facts
) -> tuple[Replacement, ...] | None:
    """The changes of all wrong sentences, if the answer is right with them, and stands."""
    if leans(answer, parts, judgement):
        return None
    for candidate in candidates(judgement, known):
        changes = _tidied_by_sentence(answer, parts, candidate, judgement, known.question)
        if changes and _is_sure(answer, parts, changes, known):
            return changes
    return None


def _tidied_by_sentence(
    answer: str,
    parts: Sequence[Sentence],
    candidate: Sequence[Replacement],
    judgement: Judgement,
    question: str,
) -> tuple[Replacement, ...]:
    arranged = arrange(answer, candidate)
    changes: list[Replacement] = []
    for part in parts:
        inside = [c for c in arranged if part.start <= c.start and c.end <= part.end]
        changes += tidied(answer, part, inside, question, _right(judgement, part))
    across = len(arranged) > sum(
        part.start <= c.start and c.end <= part.end for c in arranged for part in parts
    )
    return () if across else tuple(changes)


def _right(judgement: Judgement, part: Sentence) -> list[int]:
    """Where a sentence agrees with the reference about a finding."""
    agreed = agreements_in(judgement, part.start, part.end)
    places = (position(c, judgement.answer) for c in agreed if c.attribute in ("kind", "presence"))
    return [place for place in places if place is not None]


def _is_sure(
    answer: str, parts: Sequence[Sentence], changes: Sequence[Replacement], known: Facts
) -> bool:
    text = apply(answer, changes)
    after = judge(text, known)
    if after.verdict != "right":
        return False
    if not stands_alone(answer, parts, changes, after, len(text) - len(answer)):
        return False
    edit = build_edit("wrong", answer, changes, ontology().severity)
    shift = 0
    for edited in projected(answer, parts, edit):
        prefix = text[: edited.start + shift]
        sentence = answer[edited.start : edited.end]
        if refusal(Proposal(known, prefix, sentence, edited, "wrong")):
            return False
        shift += len(edited.text) - len(sentence)
    return True


def _why(changes: Sequence[Replacement]) -> str:
    return "; ".join(dict.fromkeys(change.reason for change in changes))
