"""The wrong variants of a right answer: one thing changed in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from random import Random

from medray.editing.base import build_sentence, edit_fraction, in_answer
from medray.editing.guard import Proposal, later_stand, refusal
from medray.editing.guard.truth import agreements_in, conflicts_in
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement, judge
from medray.editing.rewriting.rewrite import candidates
from medray.editing.rewriting.tidy import tidied
from medray.editing.rewriting.variants import counterfactuals
from medray.editing.sentences import Sentence
from medray.records import Edit, EditedSentence

_SMALL = 0.5  # a variant that changes a larger fraction of the words is only a last resort
_ATTEMPTS = 8  # counterfactuals tried for one sentence


def varied_sentences(
    answer: str,
    parts: Sequence[Sentence],
    judgement: Judgement,
    known: Facts,
    rng: Random,
    prefer: Mapping[str, float] | None,
    start: int,
) -> tuple[EditedSentence, ...]:
    """A variant of each sentence that has a sure one, the most severe error first (weighted by
    `prefer`)."""
    variants: list[EditedSentence] = []
    for part in parts:
        agreed = agreements_in(judgement, part.start, part.end)
        if part.start < start or not agreed:
            continue
        context = answer[: part.end]
        in_context = judgement if part is parts[-1] else judge(context, known)
        variant = _varied(context, part, in_context, known, rng, prefer)
        if variant is not None:
            variants.append(variant)
    weight = (prefer or {}).get
    variants.sort(
        key=lambda s: -max(weight(x.error_type, 1.0) * x.severity for x in s.answer_spans)
    )
    return tuple(variants)


def varied_answer(
    answer: str,
    parts: Sequence[Sentence],
    known: Facts,
    variants: tuple[EditedSentence, ...],
    start: int,
) -> Edit:
    """The edit of a right answer: its varied sentences, and the whole text if it is coherent."""
    if not variants:
        return Edit("abstain", reason="no-variant")
    first = variants[0]
    coherent = start == 0 and (len(parts) == 1 or later_stand(answer, parts, first, known))
    if coherent:
        return replace(in_answer("right", answer, first), sentences=variants)
    return Edit("right", reason=first.reason, sentences=variants)


def _varied(
    context: str,
    part: Sentence,
    judgement: Judgement,
    known: Facts,
    rng: Random,
    prefer: Mapping[str, float] | None,
) -> EditedSentence | None:
    """A variant of the context's last sentence: the first small one, else the first of any size."""
    sentence = context[part.start :]
    agreed = tuple(agreements_in(judgement, part.start))
    large: EditedSentence | None = None
    alternatives = counterfactuals(replace(judgement, comparisons=agreed), known, rng, prefer)
    for alternative in islice(alternatives, _ATTEMPTS):
        for edited in _drafts(context, part, alternative):
            proposal = Proposal(known, context[: part.start], sentence, edited, "right")
            if refusal(proposal, judgement):
                continue
            if edit_fraction(sentence, edited.answer_spans) <= _SMALL:
                return edited
            large = large or edited
            break
    return large


def _drafts(context: str, part: Sentence, alternative: Facts) -> Iterator[EditedSentence]:
    """The corrections of the sentence towards facts that are not those of the reference."""
    contradicted = judge(context, alternative)
    conflicts = tuple(conflicts_in(contradicted, part.start))
    if not conflicts:
        return
    for candidate in candidates(replace(contradicted, comparisons=conflicts), alternative):
        changes = tidied(context, part.start, part.end, candidate)
        if changes and part.start <= changes[0].start and changes[-1].end <= part.end:
            severity = ontology().severity
            yield build_sentence(context, part, changes, severity, "agrees with the reference")
