"""Answers in paragraphs about phantoms: what they assert, against the complete truth.

They are read by the grammar of their wordings, not by the rules of an editor, so an editor's
mistakes are not repeated in the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from medray.evaluation.assertion import Assertion
from medray.phantom.paragraphs.reading import Claim, claims, read_report, sentences
from medray.phantom.styles import PARAGRAPHS
from medray.records import Case

_ERROR_TYPES = {
    "side": "side",
    "zone": "zone",
    "size": "size",
    "device": "presence",
    "device_side": "side",
    "bones": "presence",
    "bones_side": "side",
}


def is_chest(case: Case) -> bool:
    """Whether a case is a phantom that is reported on in paragraphs."""
    return any(name == "device" for name, _ in case.truth)


def assertions(case: Case, answer: str) -> Iterator[Assertion]:
    """Every attribute that a sentence asserts or denies; one out of the grammar asserts nothing."""
    truth = dict(case.truth)
    for sentence in sentences(answer):
        for claim in claims(sentence, case.question) or ():
            yield from _of_claim(claim, truth)


def _of_claim(claim: Claim, truth: dict[str, str]) -> Iterator[Assertion]:
    if claim.denied or not claim.values:
        value = "not " + " ".join(value for _, value in claim.values)
        name = claim.values[0][0] if claim.values else "pneumothorax"
        yield Assertion(name, value, _ERROR_TYPES.get(name, "presence"), not claim.holds(truth))
        return
    for name, value in claim.values:
        if value == "any" and len(claim.values) > 1:  # taken for granted, not asserted
            continue
        generic = name == "kind" and (value in ("any", "none") or truth["kind"] == "none")
        kind = ("presence" if generic else "kind") if name == "kind" else None
        error_type = kind or _ERROR_TYPES.get(name, "attribute")
        yield Assertion(name, value, error_type, not Claim(((name, value),)).holds(truth))


def unread(case: Case, answer: str) -> list[float]:
    """For every sentence 1 if the grammar does not read it, else 0."""
    return [float(claims(text, case.question) is None) for text in sentences(answer)]


def is_exact(case: Case, asserted: Sequence[Assertion]) -> bool:
    """Whether a report contradicts nothing and leaves out nothing but device and bones."""
    needed = {(name, value) for name, value in case.truth if name not in PARAGRAPHS.optional}
    stated = {(a.attribute, a.value) for a in asserted}
    stated |= {("kind", "none") for a in asserted if (a.attribute, a.value) == ("kind", "not any")}
    return needed <= stated and not any(a.contradicted for a in asserted)


def findings(case: Case, answer: str) -> tuple[set[str], set[str]]:
    """The findings of lung and heart that a report asserts, and those that are true."""
    return _findings(read_report(answer).items()), _findings(case.truth)


def _findings(attributes: Iterable[tuple[str, str]]) -> set[str]:
    values = dict(attributes)
    return {values.get("kind", "none")} - {"none"} | (
        {"cardiomegaly"} if values.get("heart") == "enlarged" else set()
    )
