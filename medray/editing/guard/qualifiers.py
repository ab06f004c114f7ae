"""Details that the rules do not compare: a chosen sentence has none but the reference's."""

from __future__ import annotations

import re

from medray.editing.language.negation import n_negations
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import read

ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
# Groups of words of which a thing has one: which valve, how old, which rib.
# Each entry is one value, with its spellings.
_GROUPS: tuple[tuple[str, ...], ...] = (
    (r"mitral", r"aortic(?=\s+valve|\s+(?:and\s+\w+\s+)?valv)", r"tricuspid", r"pulmonic"),
    (
        r"healed|healing|old|chronic|remote",
        r"\bacute(?=\s+(?:\w+\s+){0,2}(?:fracture|infarct|hemorrhage))",
    ),
    tuple(rf"\b(?:{name}|{number}(?:st|nd|rd|th))\b" for number, name in enumerate(ORDINALS, 1)),
)
# Where the tip or the lead of a device lies: compared only between sentences about devices.
_TIPS: tuple[str, ...] = (
    r"right\s+atri\w+",
    r"cavo-?\s?atrial",
    r"superior\s+vena\s+cava|svc",
    r"inferior\s+vena\s+cava|ivc",
    r"brachiocephalic|innominate",
    r"(?<!left\s)(?<!right\s)subclavian\s+vein",
    r"right\s+ventric\w+",
    r"left\s+ventric\w+",
    r"left\s+atri\w+",
    r"carina\w*",
    r"main(?:stem)?\s+bronchus|bronchus\s+intermedius",
    r"stomach|gastric\s+(?:body|fundus|bubble)",
    r"(?:o)?esophagus|gastro-?(?:o)?esophageal",
    r"duoden\w+",
)
_DEVICE = re.compile(
    r"\b(?:tips?|terminat\w+|ends?|overl(?:ies|ying)|coiled|leads?|catheters?|tubes?|lines?|PICC|wires?)\b",
    re.IGNORECASE,
)
# How much there is of something, in words of several attributes.
_DEGREES: tuple[str, ...] = (
    r"\b(?:minimal|mild|slight|trace|tiny|small)(?:ly)?\b",
    r"\bmoderate(?:ly)?\b",
    r"\b(?:marked|severe|extensive|massive|large|gross|advanced)(?:ly)?\b",
)
_LEVEL = re.compile(r"\b([TLC]\d{1,2})\b")
_GREATER = re.compile(
    r"\b(left|right)\s*(?:is\s+|side\s+)?(?:greater|more|larger|worse|>)\s*(?:than)?\b|"
    r"\b(?:greater|larger|worse)\s+on\s+the\s+(left|right)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:no|not|without)\b[^.,;]*", re.IGNORECASE)
_SIDE = re.compile(r"\b(?:left|right)\b", re.IGNORECASE)
_COMMON = {
    word[:5]
    for word in (
        *("there", "which", "with", "within", "left", "right", "side", "sided", "seen", "noted"),
        *("present", "image", "small", "large", "mild", "moderate", "severe", "upper", "lower"),
        *("middle", "lung", "lungs", "zone", "lobe", "this", "that", "mildly", "normal"),
    )
}
_GENERIC = re.compile(
    r"\b(?:an?|some)\s+(?:acute\s+|active\s+)?(?:cardiopulmonary\s+|intrathoracic\s+|pulmonary\s+|"
    r"osseous\s+|bony\s+)?(?:disease|abnormality|process|pathology|finding)\b",
    re.IGNORECASE,
)


def other_qualifier(text: str, reference: str) -> bool:
    """Whether a text qualifies a thing otherwise than the reference does: another valve, another
    place of a tip, another rib, more on the other side."""
    asserted = reference if n_negations(text) else _DENIED.sub(" ", reference)
    of_devices = _DEVICE.search(text) and _DEVICE.search(reference)
    for group in (*_GROUPS, _TIPS) if of_devices else _GROUPS:
        ours, theirs = _values(group, text), _values(group, asserted)
        if ours and theirs and not ours <= theirs:
            return True
    ours, theirs = (set(_LEVEL.findall(t)) for t in (text, reference))
    if ours and theirs and not ours <= theirs:
        return True
    greater, stated = _greater(text), _greater(reference)
    return bool(greater) and not greater <= stated


def other_degree(text: str, reference: str) -> bool:
    """Whether a text gives a thing another degree than the sentences of the reference that speak of
    it: "minimal edema", for "marked edema"."""
    ours, own = _values(_DEGREES, text), _content(text)
    sentences = [part for part in re.split(r"(?<=[.;])\s+|\n", reference) if own & _content(part)]
    theirs = {value for part in sentences for value in _values(_DEGREES, part)}
    return bool(ours and theirs) and not ours <= theirs


def borrowed_side(text: str, reference: str) -> bool:
    """Whether a text names a side that the reference gives to other things only: of several
    sentences none has both that side and a word of the text."""
    sentences = [part for part in re.split(r"(?<=[.;])\s+|\n", reference) if part.strip()]
    sides = {match.group().lower() for match in _SIDE.finditer(text)}
    if len(sentences) < 2 or len(sides) != 1:
        return False
    (side,) = sides
    own = _content(text)
    same = [
        part for part in sentences if re.search(rf"\b{side}\b|\bbilateral|\bboth\b", part, re.I)
    ]
    return not any(own & _content(part) for part in same)


def changes_subject(sampled: str, text: str, reference: str) -> bool:
    """Whether a text is about something else than its sampled sentence, of which the reference says
    something, too."""
    own = _content(sampled)
    return not own & _content(text) and bool(own & _content(reference))


def _content(text: str) -> set[str]:
    """Stems of the words of a text that name something, and the names of its findings."""
    words = {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())} - _COMMON
    findings = ontology().findings
    heads = {s.head.value for s in read(text).statements if s.head and s.head.value in findings}
    related = {general for value in heads for general in findings[value].covered_by}
    return words | heads | (related - {"abnormality", "lesion"})


def names_nothing(text: str, sampled: str, known: str) -> bool:
    """Whether a text asserts "an abnormality", and neither its sampled sentence nor what is known
    (question and reference) speaks of one."""
    found = _GENERIC.search(text)
    return found is not None and not any(_GENERIC.search(t) for t in (sampled, known))


def _values(group: tuple[str, ...], text: str) -> set[int]:
    return {i for i, value in enumerate(group) if re.search(value, text, re.IGNORECASE)}


def _greater(text: str) -> set[str]:
    return {(match[1] or match[2]).lower() for match in _GREATER.finditer(text)}
