"""Read what a text asserts about a chest, by the grammar of the wordings and nothing else.

It shares no code with any editor, so it can check what an editor writes. A sentence with a word
that no wording has, or without a subject, is not read: it counts as unknown, never as true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise

from medray.phantom.paragraphs import questions, wording
from medray.phantom.paragraphs.truth import ChestTruth

_KINDS = ("nodule", "opacity", "effusion", "cavity")
_SUBJECTS = {  # of a clause: the first one with a word in it
    "device": {"line", "lines", "tube", "tubes"},
    "bones": {"fracture", "fractured", "clavicle", "clavicles", "clavicular", "bones"},
    "heart": {"heart", "cardiac", "cardiomegaly"},
    "pneumothorax": {"pneumothorax"},
    "lesion": {*_KINDS, "lesion", "lungs"},
    "study": {"abnormality", "study", "needed"},
}
_DENIALS = {"no", "not", "without"}
_CLAUSE = re.compile(
    r"\s*(?:;|,|:|\band\b|\bwith(?=\s+(?:a|an|no|the|normal)\b)|\bbut\b|(?=\bwithout\b))\s*"
)
_WORD = re.compile(r"[a-z0-9]+")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


@dataclass(frozen=True, slots=True)
class Claim:
    """Values that hold together, or, if `denied`, that do not hold together.

    `values` are (attribute, value) pairs; the value "any" is some lesion, or some device.
    """

    values: tuple[tuple[str, str], ...]
    denied: bool = False

    def holds(self, truth: Mapping[str, str]) -> bool:
        """Whether the claim is true of a chest with these attributes."""
        return all(_agrees(truth, *value) for value in self.values) != self.denied


def _agrees(truth: Mapping[str, str], attribute: str, value: str) -> bool:
    real = truth.get(attribute, "")
    return real not in ("", "none") if value == "any" else real == value


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its full stop."""
    return [found for match in _SENTENCE.finditer(text) if (found := match.group().strip())]


def claims(sentence: str, question: str = "") -> tuple[Claim, ...] | None:
    """What a sentence claims, its yes or no to the question included; None if it is not read."""
    text = sentence.lower().strip()
    found: list[Claim] = []
    word = re.match(r"(yes|no)\b(?=[,.!]|$)[,.!]*\s*", text)
    if word:
        implied = claims(question) if question else None
        if implied is None or len(implied) != 1:
            return None
        found.append(_answered(implied[0], word.group(1) == "yes"))
        text = text[word.end() :]
    for clause in _clauses(text):
        clause_claims = _read_clause(clause)
        if clause_claims is None:
            return None
        found += clause_claims
    return tuple(found)


def read_report(text: str) -> dict[str, str]:
    """The attributes that a report asserts, in the order of the truth; the first mention counts.

    >>> read_report("The lungs are clear. There is a chest tube on the left.")
    {'kind': 'none', 'device': 'tube', 'device_side': 'left'}
    """
    asserted: dict[str, str] = {}
    for sentence in sentences(text):
        for claim in claims(sentence) or ():
            for attribute, value in _asserted(claim):
                asserted.setdefault(attribute, value)
    return {name: asserted[name] for name in ChestTruth.values if name in asserted}


_OPPOSITES = {"any": "none", "normal": "enlarged", "enlarged": "normal", "fracture": "intact"}


def _asserted(claim: Claim) -> Iterator[tuple[str, str]]:
    """The values that a claim names or, if it denies one, the only other value there is."""
    for attribute, value in claim.values:
        if not claim.denied:
            if value != "any":
                yield attribute, value
        elif len(claim.values) == 1 and value in _OPPOSITES:
            yield attribute, _OPPOSITES[value]


def _answered(implied: Claim, affirmed: bool) -> Claim:
    """The claim of a yes or no to a question; a question about the lesion takes one for granted."""
    return Claim(implied.values, implied.denied == affirmed)


def _clauses(text: str) -> Iterator[list[str]]:
    """The words of every clause; an introduction ("Impression:", "In summary,") is none."""
    for clause in _CLAUSE.split(text):
        words = _WORD.findall(clause)
        if words and words not in (["impression"], ["in", "summary"]):
            yield words


def _read_clause(words: list[str]) -> list[Claim] | None:
    """The claims of one clause; None if a word is out of place or it has no single subject."""
    have = set(words)
    if any(word == following for word, following in pairwise(words)):
        return None
    subjects = [name for name, nouns in _SUBJECTS.items() if nouns & have]
    if len(subjects) != 1 or len(have & {"left", "right"}) > 1:
        return None
    kinds = [kind for kind in _KINDS if kind in have]
    if not all(have <= vocabulary(topic) for topic in kinds or subjects):
        return None
    return _READERS[subjects[0]](have)


def _device(have: set[str]) -> list[Claim] | None:
    denied = bool(_DENIALS & have)
    kinds = {"line" for word in ("line", "lines") if word in have}
    kinds |= {"tube" for word in ("tube", "tubes") if word in have}
    side = _values(have, "device_side", ("left", "right"))
    if len(kinds) == 2:
        return None if side else [Claim((("device", "none" if denied else "any"),))]
    return [Claim((("device", kinds.pop()), *side), denied)]


def _bones(have: set[str]) -> list[Claim] | None:
    denied = bool(_DENIALS & have)
    side = _values(have, "bones_side", ("left", "right"))
    if "intact" in have:
        return None if denied or side else [Claim((("bones", "intact"),))]
    if not {"fracture", "fractured"} & have and "clavicular" not in have:
        return None
    return [Claim((("bones", "fracture"), *side), denied)]


def _heart(have: set[str]) -> list[Claim] | None:
    enlarged = bool({"enlarged", "increased", "cardiomegaly"} & have)
    if enlarged == ("normal" in have):
        return None
    return [Claim((("heart", "enlarged" if enlarged else "normal"),), bool(_DENIALS & have))]


def _lesion(have: set[str]) -> list[Claim] | None:
    """A lesion with its attributes; one that is not named is taken for granted."""
    denied = bool(_DENIALS & have)
    kinds = [kind for kind in _KINDS if kind in have]
    if "lungs" in have:
        return [Claim((("kind", "none"),))] if "clear" in have and not denied else None
    if len(kinds) > 1:
        return None
    attributes = [
        *_values(have, "side", ("left", "right")),
        *_values(have, "zone", ("upper", "middle", "lower")),
        *_values(have, "size", ("small", "large")),
        *_values(have, "density", ("dense", "faint")),
    ]
    if len({name for name, _ in attributes}) < len(attributes):
        return None
    if denied and not kinds and attributes:  # "the lesion is not on the left"
        return [Claim((("kind", "any"),)), Claim(tuple(attributes), denied=True)]
    return [Claim((("kind", kinds[0] if kinds else "any"), *attributes), denied)]


def _study(have: set[str]) -> list[Claim] | None:
    """A normal study. That nothing more is needed is advice, which claims nothing."""
    if "needed" in have:
        return []
    if not (_DENIALS & have or "normal" in have):
        return None
    return [Claim((("kind", "none"), ("heart", "normal"), ("bones", "intact")))]


def _values(have: set[str], name: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for value in values if value in have]


def _pneumothorax(have: set[str]) -> list[Claim] | None:
    """None is ever drawn: denied it is true, asserted false."""
    return [Claim((), denied=not _DENIALS & have)]


_READERS: dict[str, Callable[[set[str]], list[Claim] | None]] = {
    "device": _device,
    "bones": _bones,
    "heart": _heart,
    "lesion": _lesion,
    "pneumothorax": _pneumothorax,
    "study": _study,
}


@cache
def vocabulary(topic: str) -> frozenset[str]:
    """Every word that a sentence about a subject, or about a kind of lesion, can have."""
    e, i = wording.EXPLANATION, wording.IMPRESSION
    focal = (*wording.FOCAL, *i["focal"])
    lesion = (*wording.CLEAR, *chain(*questions.STATEMENTS.values()))
    templates = {
        "nodule": (*lesion, *focal, *e["nodule"]),
        "opacity": (*lesion, *focal, *e["opacity"]),
        "cavity": (*lesion, *focal, *e["cavity"]),
        "effusion": (*lesion, *wording.EFFUSION, *i["effusion"], *e["effusion"]),
        "lesion": (*lesion, *focal),
        "heart": (*chain(*wording.HEART.values()), *i["enlarged"], *e["enlarged"], "increased"),
        "device": (
            *lesion,
            *wording.DEVICE,
            *wording.NO_DEVICE,
            *chain(*wording.DEVICE_NAMES.values()),
        ),
        "bones": (*chain(*wording.BONES.values()), *i["fracture"], *e["fracture"]),
        "pneumothorax": wording.ABSENT,
        "study": (*i["normal"], *e["normal"]),
    }[topic]
    everywhere = (
        *chain(*questions.CLOSED.values()),
        "there are is an a no not without sided pleural",
    )
    words = set().union(*(wording.words(text) for text in (*templates, *everywhere)))
    return frozenset(words.union(*ChestTruth.values.values()))
