"""Closed and open questions about a chest, answered in a sentence or in a paragraph.

A question is drawn from the truth; its answer states what is reported, which differs from the
truth only while the base model learns its prior.
"""

from __future__ import annotations

import numpy as np

from medray.phantom.paragraphs import wording
from medray.phantom.paragraphs.truth import ChestTruth
from medray.phantom.studies.questions import Question
from medray.phantom.studies.truth import pick

_SENTENCE_SHARE = 0.4  # of the answers are one sentence, the others a paragraph

CLOSED = {
    "lesion": ("Is there a focal lesion?", "Is any lesion seen?"),
    "kind": ("Is there {a} {value}?", "Does the image show {a} {value}?"),
    "side": ("Is the lesion on the {value} side?", "Is the lesion in the {value} lung?"),
    "zone": ("Is the lesion in the {value} zone?",),
    "size": ("Is the lesion {value}?",),
    "heart": ("Is the heart {value}?", "Is the heart size {value}?"),
    "device": ("Is there a {value}?", "Is a {value} in place?"),
    "device_side": ("Is the {device} on the {value} side?",),
    "bones": ("Is there a fracture?",),
}
OPEN = {
    "kind": ("What is the abnormality?", "What abnormality is seen?"),
    "side": ("Which side is the lesion on?", "On which side is the lesion?"),
    "zone": ("In which zone is the lesion?", "Which zone is the lesion in?"),
    "size": ("How large is the lesion?", "What is the size of the lesion?"),
    "heart": ("What is the size of the heart?", "How is the heart size?"),
    "device_side": ("Which side is the {device} on?", "On which side is the {device}?"),
}
STATEMENTS = {
    "side": ("The lesion is on the {side} side.", "The lesion is in the {side} lung."),
    "zone": ("The lesion is in the {zone} zone.",),
    "size": ("The lesion is {size}.",),
    "device_side": ("The {device} is on the {device_side} side.",),
}
_DEVICES = {"line": "central line", "tube": "chest tube"}


def closed_question(truth: ChestTruth, rng: np.random.Generator) -> Question:
    """A yes/no question whose answer is "yes" about as often as "no"."""
    attribute = pick(rng, _askable(truth, tuple(CLOSED)))
    value, name = "", ""
    if attribute not in ("lesion", "bones"):
        value = getattr(truth, attribute)
        others = tuple(v for v in truth.values[attribute] if v not in (value, "none"))
        if rng.random() < 0.5 or value == "none":
            value = pick(rng, others)
        name = _DEVICES.get(value, wording.NAMES.get(value, value))
    text = pick(rng, CLOSED[attribute]).format(
        a="an" if name[:1] in tuple("aeiou") else "a",
        value=name,
        device=_DEVICES.get(truth.device, ""),
    )
    return Question(text, attribute, value)


def open_question(truth: ChestTruth, rng: np.random.Generator) -> Question:
    """A question about one attribute; about the lesion or the device only if there is one."""
    attribute = pick(rng, _askable(truth, tuple(OPEN)))
    text = pick(rng, OPEN[attribute]).format(device=_DEVICES.get(truth.device, ""))
    return Question(text, attribute)


def answer(question: Question, reported: ChestTruth, rng: np.random.Generator) -> str:
    """The answer of a reader who believes `reported`: a sentence, or two to four."""
    statement = _statement(question.attribute, reported, rng)
    if question.attribute == "lesion":
        statement = _after("Yes" if reported.has_lesion else "No", statement)
    elif question.attribute == "bones":
        statement = _after("Yes" if reported.bones == "fracture" else "No", statement)
    elif question.value:
        agrees = getattr(reported, question.attribute) == question.value
        statement = _after("Yes" if agrees else "No", statement)
    further = [text for text in _further(question.attribute, reported, rng) if text != statement]
    alone, count = rng.random() < _SENTENCE_SHARE, int(rng.integers(1, 4))
    return " ".join([statement] if alone else [statement, *further[:count]])


def _askable(truth: ChestTruth, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The attributes that can be asked about this study."""
    known = truth.attributes()
    always = (
        ("heart", "lesion", "kind", "device", "bones") if "lesion" in attributes else ("heart",)
    )
    return tuple(
        name
        for name in attributes
        if name in always or (name in known and (truth.has_lesion or name == "device_side"))
    )


def _after(word: str, statement: str) -> str:
    """The statement behind a yes or no."""
    return f"{word}, {statement[0].lower()}{statement[1:]}"


def _statement(attribute: str, reported: ChestTruth, rng: np.random.Generator) -> str:
    """One sentence about the attribute."""
    draw = int(rng.integers(2))
    if attribute in STATEMENTS:
        templates = STATEMENTS[attribute]
        return wording.fill(
            templates[draw % len(templates)], reported, _DEVICES.get(reported.device, "")
        )
    if attribute == "heart":
        return wording.heart_sentence(reported, rng)
    if attribute == "device":
        return wording.device_sentence(reported, rng)
    if attribute == "bones":
        return wording.bones_sentence(reported, rng)
    return wording.lungs_sentence(reported, rng)


def _further(attribute: str, reported: ChestTruth, rng: np.random.Generator) -> list[str]:
    """What a paragraph goes on with: what follows from the finding, then other parts."""
    lungs = wording.lungs_sentence(reported, rng)
    reason = wording.explanation(reported, rng)
    others = [
        wording.heart_sentence(reported, rng),
        wording.device_sentence(reported, rng),
        wording.bones_sentence(reported, rng),
    ]
    about = {"heart": 0, "device": 1, "device_side": 1, "bones": 2}.get(attribute)
    rest = [others[i] for i in rng.permutation(3) if i != about]
    on_lesion = attribute in ("side", "zone", "size")
    return [lungs, reason, *rest] if on_lesion else [reason, *rest]
