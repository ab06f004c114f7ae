"""The findings editor: judges by claims, changes only what is wrong, and checks its own result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from medray.editing.base import Replacement, apply, arrange, build_edit, edit_fraction
from medray.editing.language.grammar import fix_articles
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import Judgement, judge
from medray.editing.rewriting.rewrite import candidates
from medray.editing.rewriting.variants import counterfactuals
from medray.records import Edit, Span
from medray.seeds import text_stream

_SMALL = 0.5  # a variant that changes a larger fraction of the words is only a last resort


class FindingsEditor:
    """Rule-based, offline and deterministic.

    Every result is judged again: a corrected answer must be right, a wrong variant must be
    wrong. If that fails, or nothing can be compared, it abstains with a reason:
    empty-answer, not-comparable, uncertain, cannot-rewrite, no-variant.

    `prefer` weights the types of error that a wrong variant may contain: a type of twice the
    weight is tried first twice as often. None: all equally often.

    >>> FindingsEditor().edit("Which side?", "Left", "Right", seed=0).text
    'Left'
    """

    name = "findings"
    version = "3"

    def __init__(self, prefer: Mapping[str, float] | None = None) -> None:
        self.prefer = prefer
        if prefer:
            self.version += " aimed"  # its variants differ from those of the plain version

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit:
        """Judge the answer against the reference, and make the other side of the pair."""
        known = facts(question, reference)
        judgement = judge(answer, known)
        severity = ontology().severity
        if judgement.verdict == "abstain":
            return Edit("abstain", reason=judgement.reason)
        if judgement.verdict == "wrong":
            corrected = _corrected(answer, judgement, known)
            if corrected is None:
                return Edit("abstain", reason="cannot-rewrite")
            return build_edit("wrong", answer, corrected, severity, _why(corrected))
        rng = text_stream(seed, question, reference, answer)
        variant = _variant(answer, counterfactuals(judgement, known, rng, self.prefer), known)
        if variant is None:
            return Edit("abstain", reason="no-variant")
        return build_edit("right", answer, variant, severity, "agrees with the reference")


def _corrected(answer: str, judgement: Judgement, facts: Facts) -> tuple[Replacement, ...] | None:
    """The first candidate rewrite after which the answer is right."""
    for candidate in candidates(judgement, facts):
        changes = _arranged(answer, candidate)
        if changes and judge(apply(answer, changes), facts).verdict == "right":
            return changes
    return None


def _variant(
    answer: str, alternatives: Iterable[Facts], facts: Facts
) -> tuple[Replacement, ...] | None:
    """A wrong variant: the first small one, else the first of any size."""
    large: tuple[Replacement, ...] | None = None
    for alternative in alternatives:
        contradicted = judge(answer, alternative)
        if contradicted.verdict != "wrong":
            continue
        for candidate in candidates(contradicted, alternative):
            changes = _arranged(answer, candidate)
            if not changes or not _is_correctable(apply(answer, changes), facts):
                continue
            if edit_fraction(answer, _spans(changes)) <= _SMALL:
                return changes
            large = large or changes
            break
    return large


def _is_correctable(variant: str, facts: Facts) -> bool:
    """Whether a variant is judged wrong and can be corrected, so that the rules understand it."""
    judgement = judge(variant, facts)
    return judgement.verdict == "wrong" and _corrected(variant, judgement, facts) is not None


def _arranged(answer: str, candidate: Sequence[Replacement]) -> tuple[Replacement, ...]:
    return arrange(answer, fix_articles(answer, arrange(answer, candidate)))


def _spans(changes: Sequence[Replacement]) -> list[Span]:
    return [Span(c.start, c.end, c.error_type, 1.0, "") for c in changes]


def _why(changes: Sequence[Replacement]) -> str:
    return "; ".join(dict.fromkeys(change.reason for change in changes))
