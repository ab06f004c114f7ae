"""Details that the rules do not compare: a chosen sentence has none but the reference's."""

from __future__ import annotations

import re

_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
# Groups of words of which a thing has one: which valve, where a tip lies, which rib, which level.
# Each entry is one value, with its spellings.
_GROUPS: tuple[tuple[str, ...], ...] = (
    (r"mitral", r"aortic(?=\s+valve|\s+(?:and\s+\w+\s+)?valv)", r"tricuspid", r"pulmonic"),
    (
        r"right\s+atri\w+",
        r"cavo-?\s?atrial",
        r"superior\s+vena\s+cava|svc",
        r"inferior\s+vena\s+cava|ivc",
        r"brachiocephalic|innominate",
        r"(?<!left\s)(?<!right\s)subclavian\s+vein",
        r"right\s+ventric\w+",
        r"carina\w*",
        r"main(?:stem)?\s+bronchus|bronchus\s+intermedius",
        r"stomach|gastric\s+(?:body|fundus|bubble)",
        r"(?:o)?esophagus|gastro-?(?:o)?esophageal",
        r"duoden\w+",
    ),
    (
        r"healed|healing|old|chronic|remote",
        r"\bacute(?=\s+(?:\w+\s+){0,2}(?:fracture|infarct|hemorrhage))",
    ),
    tuple(rf"\b(?:{name}|{number}(?:st|nd|rd|th))\b" for number, name in enumerate(_ORDINALS, 1)),
)
_DEVICE = re.compile(r"\b(?:tip|terminat\w+|ends?|overl(?:ies|ying)|coiled|position\w*)\b", re.I)
_LEVEL = re.compile(r"\b([TLC]\d{1,2})\b")
_GREATER = re.compile(
    r"\b(left|right)\s*(?:is\s+|side\s+)?(?:greater|more|larger|worse|>)\s*(?:than)?\b|"
    r"\b(?:greater|larger|worse)\s+on\s+the\s+(left|right)\b",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"\b(?:an?|some)\s+(?:acute\s+|active\s+)?(?:cardiopulmonary\s+|intrathoracic\s+|pulmonary\s+|"
    r"osseous\s+|bony\s+)?(?:disease|abnormality|process|pathology|finding)\b",
    re.IGNORECASE,
)


def other_qualifier(text: str, reference: str) -> bool:
    """Whether a text qualifies a thing otherwise than the reference does: another valve, another
    place of a tip, another rib, more on the other side."""
    for number, group in enumerate(_GROUPS):
        if number == 1 and not (_DEVICE.search(text) and _DEVICE.search(reference)):
            continue
        ours, theirs = _values(group, text), _values(group, reference)
        if ours and theirs and not ours <= theirs:
            return True
    ours, theirs = (set(_LEVEL.findall(t)) for t in (text, reference))
    if ours and theirs and not ours <= theirs:
        return True
    greater, stated = _greater(text), _greater(reference)
    return bool(greater) and not greater <= stated


def names_nothing(text: str, sampled: str, known: str) -> bool:
    """Whether a text asserts "an abnormality", and neither its sampled sentence nor what is known
    (question and reference) speaks of one."""
    found = _GENERIC.search(text)
    return found is not None and not any(_GENERIC.search(t) for t in (sampled, known))


def _values(group: tuple[str, ...], text: str) -> set[int]:
    return {i for i, value in enumerate(group) if re.search(value, text, re.IGNORECASE)}


def _greater(text: str) -> set[str]:
    return {(match[1] or match[2]).lower() for match in _GREATER.finditer(text)}
