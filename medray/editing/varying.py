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
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement, judge
from medray.editing.rewriting.rewrite import candidates
from medray.editing.rewriting.tidy import tidied
from medray.editing.rewriting.variants import counterfactuals
from medray.editing.sentences import MOST, Sentence
from medray.records import Edit, EditedSentence

_SMALL = 0.5  # a variant that changes a larger fraction of the words is only a last resort
_ATTEMPTS = 8  # counterfactuals tried for one sentence


def varied(
    answer: str,
    parts: Sequence[Sentence],
    judgement: Judgement,
    known: Facts,
    rng: Random,
    prefer: Mapping[str, float] | None,
    start: int,
) -> Edit:
    """The edit of a right answer: a variant of each sentence that has a sure one, in an order drawn
    by `prefer`, and the first that the rest of the answer allows as that of the whole answer."""
    variants: list[tuple[float, EditedSentence]] = []
    later = (part for part in parts if part.start >= start)
    right = ((part, agreements_in(judgement, part.start, part.end)) for part in later)
    for part, agreed in islice(((part, agreed) for part, agreed in right if agreed), MOST):
        context = answer[: part.end]
        in_context = judgement if part is parts[-1] else judge(context, known)
        variant = _varied(answer, part, in_context, known, rng, prefer)
        if variant is not None:
            variants.append((rng.expovariate(_weight(agreed, prefer)), variant))
    if not variants:
        return Edit("abstain", reason="no-variant")
    drawn = [variant for _, variant in sorted(variants, key=lambda item: item[0])]
    sentences = tuple(drawn)
    for variant in drawn if start == 0 else ():
        if len(parts) == 1 or later_stand(answer, parts, variant, known):
            return replace(in_answer("right", answer, variant), sentences=sentences)
    return Edit("right", reason=drawn[0].reason, sentences=sentences)


def _weight(agreed: Sequence[Comparison], prefer: Mapping[str, float] | None) -> float:
    """How often a sentence is varied beside the others: the weight of all that it may err in."""
    things = {
        (c.attribute, c.statement.head.value if c.statement and c.statement.head else ""): c
        for c in agreed
    }
    weights = prefer or {}
    total = sum(weights.get(c.error_type, 1.0) for c in things.values())
    deniable = any(c.attribute in ("kind", "presence") for c in things.values())
    return total + (weights.get("presence", 1.0) if weights and deniable else 0.0)


def _varied(
    answer: str,
    part: Sentence,
    judgement: Judgement,
    known: Facts,
    rng: Random,
    prefer: Mapping[str, float] | None,
) -> EditedSentence | None:
    """A variant of one sentence: the first small one, else the first of any size."""
    context, sentence = answer[: part.end], answer[part.start : part.end]
    agreed = tuple(agreements_in(judgement, part.start))
    large: EditedSentence | None = None
    alternatives = counterfactuals(replace(judgement, comparisons=agreed), known, rng, prefer)
    for alternative in islice(alternatives, _ATTEMPTS):
        for edited in _drafts(context, part, alternative):
            proposal = Proposal(known, context[: part.start], sentence, edited, "right")
            if refusal(proposal, judgement):
                continue
            if edit_fraction(answer, in_answer("right", answer, edited).answer_spans) <= _SMALL:
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
        changes = tidied(context, part, candidate, alternative.question)
        if changes and part.start <= changes[0].start and changes[-1].end <= part.end:
            severity = ontology().severity
            yield build_sentence(context, part, changes, severity, "agrees with the reference")
