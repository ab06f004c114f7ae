"""The findings editor: judges by claims, changes only what is wrong, and checks its own work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from medray.editing.base import Replacement, apply, arrange, build_edit, edit_fraction
from medray.editing.language.grammar import fix_articles
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import Judgement, judge
from medray.editing.rewriting.rewrite import candidates
from medray.editing.rewriting.variants import other_worlds
from medray.records import Edit, Span
from medray.seeds import text_stream

_SMALL = 0.5  # a variant that changes more than this share of the words is only a last resort


class FindingsEditor:
    """Rule-based, offline and deterministic.

    What it returns has been judged again: a corrected answer is right, a wrong variant is
    wrong. Where that fails, or nothing can be compared, it abstains and says why:
    empty-answer, not-comparable, uncertain, cannot-rewrite, no-variant.

    `prefer` weighs the types of error that a wrong variant may make: one of twice the weight is
    tried first twice as often. None: all alike.

    >>> FindingsEditor().edit("Which side?", "Left", "Right", seed=0).text
    'Left'
    """

    name = "findings"
    version = "3"

    def __init__(self, prefer: Mapping[str, float] | None = None) -> None:
        self.prefer = prefer
        if prefer:
            self.version += " aimed"  # its variants are not those of the version alone

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
        variant = _variant(answer, other_worlds(judgement, known, rng, self.prefer), known)
        if variant is None:
            return Edit("abstain", reason="no-variant")
        return build_edit("right", answer, variant, severity, "agrees with the reference")


def _corrected(answer: str, judgement: Judgement, known: Facts) -> tuple[Replacement, ...] | None:
    """The first way of rewriting after which the answer is right."""
    for way in candidates(judgement, known):
        changes = _arranged(answer, way)
        if changes and judge(apply(answer, changes), known).verdict == "right":
            return changes
    return None


def _variant(answer: str, worlds: Iterable[Facts], known: Facts) -> tuple[Replacement, ...] | None:
    """A wrong variant: the first small one, else the first at all."""
    large: tuple[Replacement, ...] | None = None
    for world in worlds:
        changed = judge(answer, world)
        if changed.verdict != "wrong":
            continue
        for way in candidates(changed, world):
            changes = _arranged(answer, way)
            if not changes or not _mendable(apply(answer, changes), known):
                continue
            if edit_fraction(answer, _spans(changes)) <= _SMALL:
                return changes
            large = large or changes
            break
    return large


def _mendable(variant: str, known: Facts) -> bool:
    """Whether a variant is wrong, and the way back is known: then it is wrong in our own terms."""
    judgement = judge(variant, known)
    return judgement.verdict == "wrong" and _corrected(variant, judgement, known) is not None


def _arranged(answer: str, way: Sequence[Replacement]) -> tuple[Replacement, ...]:
    return arrange(answer, fix_articles(answer, arrange(answer, way)))


def _spans(changes: Sequence[Replacement]) -> list[Span]:
    return [Span(c.start, c.end, c.error_type, 1.0, "") for c in changes]


def _why(changes: Sequence[Replacement]) -> str:
    return "; ".join(dict.fromkeys(change.reason for change in changes))
