"""Express a phantom's truth in a radiologist's words, and read it back from them.

The wording is drawn independently of the truth, so only the words for the attributes themselves
distinguish one truth from another.
"""

from __future__ import annotations

import re

import numpy as np

from medray.phantom.studies.truth import VALUES, Truth, pick

REPORT_QUESTIONS = (
    "Describe the chest radiograph.",
    "Describe the findings in this image.",
    "What does the chest X-ray show?",
    "Write a report for this radiograph.",
)
_FOCAL = (
    "There is a {size} {kind} in the {side} {zone} zone.",
    "A {size} {kind} is seen in the {zone} zone of the {side} lung.",
    "{Size} {side} {zone} zone {kind}.",
    "The {side} {zone} zone shows a {size} {kind}.",
    "A {size} {kind} is present in the {side} {zone} zone.",
    "{Size} {kind} in the {zone} zone of the {side} lung.",
)
_EFFUSION = (
    "There is a {size} {side} pleural effusion.",
    "There is a {size} {side}-sided pleural effusion.",
    "A {size} pleural effusion is seen on the {side} side.",
    "{Size} {side} pleural effusion.",
    "{Size} {side}-sided pleural effusion.",
    "A {size} pleural effusion is present on the {side}.",
)
_CLEAR = (
    "No focal lesion is seen.",
    "The lungs are clear.",
    "Both lungs are clear.",
    "There is no focal lesion.",
)
_HEART = {
    "normal": (
        "The heart is normal in size.",
        "Heart size is within normal limits.",
        "The heart size is normal.",
        "Normal heart size.",
    ),
    "enlarged": (
        "The heart is enlarged.",
        "There is cardiomegaly.",
        "The cardiac silhouette is enlarged.",
        "Enlarged heart.",
    ),
}


def fill(template: str, truth: Truth) -> str:
    """The template filled with the truth's attributes; {Size} is the capitalised size."""
    return template.format(Size=truth.size.capitalize(), **truth.attributes())


def report(truth: Truth, rng: np.random.Generator) -> str:
    """A report of two sentences: the lungs and the heart, in either order."""
    heart_first, lung, heart = rng.random() < 0.3, int(rng.integers(12)), int(rng.integers(12))
    templates = {"none": _CLEAR, "effusion": _EFFUSION}.get(truth.kind, _FOCAL)
    sentences = [
        fill(templates[lung % len(templates)], truth),
        _HEART[truth.heart][heart % len(_HEART[truth.heart])],
    ]
    return " ".join(reversed(sentences) if heart_first else sentences)


def report_question(rng: np.random.Generator) -> str:
    """One of the questions that ask for a report."""
    return pick(rng, REPORT_QUESTIONS)


_HEART_WORDS = re.compile(r"\b(heart|cardiac|cardiomegaly)\b")
_CLEAR_WORDS = re.compile(r"\b(clear|no focal)\b")


def read_report(text: str) -> dict[str, str]:
    """The attributes a report asserts, sentence by sentence; the first mention counts.

    >>> read_report("The lungs are clear. There is cardiomegaly.")
    {'kind': 'none', 'heart': 'enlarged'}
    """
    asserted: dict[str, str] = {}
    for sentence in re.split(r"[.!?]\s*", text.lower()):
        if _HEART_WORDS.search(sentence):
            if re.search(r"\b(enlarged|cardiomegaly)\b", sentence):
                asserted.setdefault("heart", "enlarged")
            elif re.search(r"\bnormal\b", sentence):
                asserted.setdefault("heart", "normal")
            continue
        for name in ("kind", "side", "zone", "size"):
            for value in VALUES[name]:
                if value != "none" and re.search(rf"\b{value}\b", sentence):
                    asserted.setdefault(name, value)
        if _CLEAR_WORDS.search(sentence):
            asserted.setdefault("kind", "none")
    return {name: asserted[name] for name in VALUES if name in asserted}
