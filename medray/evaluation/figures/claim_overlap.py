"""How much of what the reference claims an answer claims too, as the editor reads both.

A claim is one attribute that is asserted or denied ("no effusion", "on the left"). A claim that
the reference does not make is unsupported, which is not yet wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import Claim, claims, read, subject_of
from medray.editing.reading.facts import proposition
from medray.evaluation.sums import Figure, Floats, divide, ratio


@dataclass(frozen=True, slots=True)
class Stated:
    """One claim without its place in the text; `subject` "lesion" is any finding."""

    subject: str
    attribute: str
    value: str
    polarity: bool

    def about_same(self, other: Stated) -> bool:
        """Whether both are about the same attribute, whatever they say of it."""
        if self.attribute != other.attribute:
            return False
        if self.attribute == "presence":
            return ontology().compatible(self.value, other.value)
        return self.subject == other.subject or "lesion" in (self.subject, other.subject)

    def entails(self, other: Stated) -> bool:
        """Whether the other is true if this is: "clear lungs" entails "no nodule"."""
        if self.polarity != other.polarity or not self.about_same(other):
            return False
        if self.attribute != "presence":
            return self.value == other.value
        wide, narrow = (self, other) if not self.polarity else (other, self)
        return ontology().covers(wide.value, narrow.value)

    @property
    def error_type(self) -> str:
        """The type of error that it is to leave this out."""
        attribute = ontology().attributes.get(self.attribute)
        default = "attribute" if self.attribute == "heart" else "presence"
        return attribute.error_type if attribute else default


@functools.lru_cache(maxsize=16384)  # references are read again at every evaluation
def stated_claims(question: str, text: str) -> tuple[Stated, ...]:
    """All claims of a text, with those of its yes or no, without duplicates."""
    found = [_plain(claim) for claim in claims(text, question)]
    found += _implied(question, text)
    return tuple(dict.fromkeys(found))


def claim_overlap(question: str, reference: str, answer: str) -> dict[str, float]:
    """Statistics of one answer. Nothing if the reference makes no claim that can be read."""
    known, given = stated_claims(question, reference), stated_claims(question, answer)
    if not known:
        return {}
    silent = [claim for claim in known if not any(claim.about_same(other) for other in given)]
    result = {
        "claims/known": float(len(known)),
        "claims/given": float(len(given)),
        "claims/supported": float(sum(any(k.entails(g) for k in known) for g in given)),
        "claims/recalled": float(sum(any(g.entails(k) for g in given) for k in known)),
        "claims/omitted": float(len(silent)),
    }
    for claim in known:
        _add(result, f"known/{claim.error_type}")
    for claim in silent:
        _add(result, f"omitted/{claim.error_type}")
    return result


def _plain(claim: Claim) -> Stated:
    return Stated(claim.subject, claim.attribute, claim.value, claim.polarity)


def _implied(question: str, text: str) -> Iterator[Stated]:
    """What a leading yes or no says about the question."""
    proposal, word = proposition(question), read(text, subject=subject_of(question)).word
    if proposal is None or word is None:
        return
    statements, study = proposal.implied(word)
    for m in study:
        yield Stated("study", m.attribute, m.value, not m.negated)
    for statement in statements:
        head = statement.head
        name = head.value if head and statement.subject == "lesion" else statement.subject
        if head is not None:
            attribute = "presence" if statement.subject == "lesion" else "heart"
            yield Stated(name, attribute, head.value, statement.polarity)
        for m in statement.details if statement.polarity else ():
            yield Stated(name, m.attribute, m.value, not m.negated)


def _add(counts: dict[str, float], name: str) -> None:
    counts[name] = counts.get(name, 0.0) + 1.0


def _f1(sums: Floats) -> Floats:
    supported, given, recalled, known = (sums[..., i] for i in range(4))
    precision, recall = divide(supported, given), divide(recalled, known)
    harmonic = divide(2 * precision * recall, precision + recall)
    return np.where(given + known == 0, np.nan, np.nan_to_num(harmonic))


# claim_precision: claims of the answers that the reference entails / claims of the answers
# claim_recall: claims of the references that the answer entails / claims of the references
# claim_f1: harmonic mean of the two; omission_rate: claims of the references about whose attribute
# the answer says nothing / claims of the references
FIGURES = (
    ratio("claim_precision", "claims/supported", "claims/given"),
    ratio("claim_recall", "claims/recalled", "claims/known"),
    Figure(
        "claim_f1", ("claims/supported", "claims/given", "claims/recalled", "claims/known"), _f1
    ),
    ratio("omission_rate", "claims/omitted", "claims/known"),
)
