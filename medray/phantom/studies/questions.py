"""Closed and open questions about a phantom, and their answers.

A question is drawn from the truth; its answer states what is reported, which differs from the
truth only while the base model learns its prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medray.phantom.studies.truth import VALUES, Truth, pick

_SENTENCE_SHARE = 0.3  # of the answers are full sentences, the others are one or two words
_NAMES = {"effusion": "pleural effusion"}

_CLOSED = {
    "lesion": ("Is there a focal lesion?", "Is any lesion seen?"),
    "kind": ("Is there {a} {value}?", "Does the image show {a} {value}?"),
    "side": ("Is the lesion on the {value} side?", "Is the lesion in the {value} lung?"),
    "zone": ("Is the lesion in the {value} zone?",),
    "size": ("Is the lesion {value}?",),
    "heart": ("Is the heart {value}?", "Is the heart size {value}?"),
}
_OPEN = {
    "kind": ("What is the abnormality?", "What abnormality is seen?"),
    "side": ("Which side is the lesion on?", "On which side is the lesion?"),
    "zone": ("In which zone is the lesion?", "Which zone is the lesion in?"),
    "size": ("How large is the lesion?", "What is the size of the lesion?"),
    "heart": ("What is the size of the heart?", "How is the heart size?"),
}
_STATEMENTS = {
    "side": "the lesion is on the {value} side",
    "zone": "the lesion is in the {value} zone",
    "size": "the lesion is {value}",
}


@dataclass(frozen=True, slots=True)
class Question:
    """`text` asks about `attribute`; a closed question also has the `value` that it names."""

    text: str
    attribute: str
    value: str = ""


def closed_question(truth: Truth, rng: np.random.Generator) -> Question:
    """A yes/no question whose answer is "yes" about as often as "no"."""
    attribute = pick(rng, _askable(truth, tuple(_CLOSED)))
    value = ""
    if attribute != "lesion":
        value = getattr(truth, attribute)
        others = tuple(v for v in VALUES[attribute] if v not in (value, "none"))
        if rng.random() < 0.5 or value == "none":
            value = pick(rng, others)
    text = pick(rng, _CLOSED[attribute]).format(a=_article(value), value=_NAMES.get(value, value))
    return Question(text, attribute, value)


def open_question(truth: Truth, rng: np.random.Generator) -> Question:
    """A question about one attribute; about the lesion only if there is one."""
    attribute = pick(rng, _askable(truth, tuple(_OPEN)))
    return Question(pick(rng, _OPEN[attribute]), attribute)


def answer(question: Question, reported: Truth, rng: np.random.Generator) -> str:
    """The answer of a reader who believes `reported`: a word or two, or a full sentence."""
    as_sentence = rng.random() < _SENTENCE_SHARE
    statement = _statement(question.attribute, reported)
    if question.attribute == "lesion":
        word = "Yes" if reported.has_lesion else "No"
    elif question.value:
        word = "Yes" if getattr(reported, question.attribute) == question.value else "No"
    elif as_sentence:
        return statement[0].upper() + statement[1:] + "."
    else:
        return _short(question.attribute, reported)
    return f"{word}, {statement}." if as_sentence else word


def _askable(truth: Truth, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The attributes that can be asked about this study."""
    known = truth.attributes()
    always = ("heart", "lesion", "kind") if "lesion" in attributes else ("heart",)
    return tuple(a for a in attributes if a in always or (a in known and truth.has_lesion))


def _article(value: str) -> str:
    return "an" if value[:1] in "aeiou" and _NAMES.get(value, value) == value else "a"


def _short(attribute: str, reported: Truth) -> str:
    value = getattr(reported, attribute)
    text = _NAMES.get(value, value) + (" zone" if attribute == "zone" else "")
    return text.capitalize()


def _statement(attribute: str, reported: Truth) -> str:
    """A sentence about the attribute, without capital letter and full stop."""
    value = getattr(reported, attribute, "")
    if attribute == "heart":
        return "the heart is enlarged" if value == "enlarged" else "the heart is normal in size"
    if attribute in _STATEMENTS:
        return _STATEMENTS[attribute].format(value=value)
    if not reported.has_lesion:
        return "no focal lesion is seen"
    return f"there is {_article(reported.kind)} {_NAMES.get(reported.kind, reported.kind)}"
