"""Express what is true of a chest in four to seven sentences, each in one of several wordings.

Which wording is drawn never depends on an attribute's value, only on which attributes apply, so
that only the words for the values themselves distinguish one truth from another.
"""

from __future__ import annotations

import string

import numpy as np

from medray.phantom.paragraphs.truth import ChestTruth
from medray.phantom.studies.truth import pick

REPORT_QUESTIONS = (
    "Describe the chest radiograph.",
    "Describe the findings in this image.",
    "What does the chest X-ray show?",
    "Write the report.",
    "Write a report for this radiograph.",
)
NAMES = {"effusion": "pleural effusion"}
FOCAL = (
    "There is a {lesion} in the {side} {zone} zone.",
    "A {lesion} is seen in the {zone} zone of the {side} lung.",
    "The {side} {zone} zone shows a {lesion}.",
    "A {lesion} is present in the {side} {zone} zone.",
    "Within the {side} lung there is a {lesion} in the {zone} zone.",
    "{Lesion} in the {zone} zone of the {side} lung.",
)
EFFUSION = (
    "There is a {size} {side} pleural effusion.",
    "There is a {size} {side}-sided pleural effusion.",
    "A {size} pleural effusion is seen on the {side} side.",
    "A {size} pleural effusion is present on the {side}.",
    "The {side} costophrenic angle is blunted by a {size} pleural effusion.",
    "{Size} {side} pleural effusion.",
)
CLEAR = (
    "No focal lesion is seen.",
    "The lungs are clear.",
    "Both lungs are clear.",
    "There is no focal lesion.",
)
HEART = {
    "normal": (
        "The heart is normal in size.",
        "Heart size is within normal limits.",
        "The heart size is normal.",
        "The cardiac silhouette is normal.",
    ),
    "enlarged": (
        "The heart is enlarged.",
        "There is cardiomegaly.",
        "The heart size is enlarged.",
        "The cardiac silhouette is enlarged.",
    ),
}
DEVICE = (
    "There is a {device} on the {device_side}.",
    "A {device_side} {device} is in place.",
    "A {device_side}-sided {device} is seen.",
    "A {device} enters from the {device_side}.",
)
NO_DEVICE = (
    "No lines or tubes are seen.",
    "There are no lines or tubes.",
    "No line or tube is present.",
    "There is no line or tube.",
)
DEVICE_NAMES = {"line": ("central line", "central venous line"), "tube": ("chest tube",)}
BONES = {
    "intact": (
        "The bones are intact.",
        "No fracture is seen.",
        "There is no fracture.",
        "The clavicles are intact.",
    ),
    "fracture": (
        "There is a fracture of the {bones_side} clavicle.",
        "The {bones_side} clavicle is fractured.",
        "A {bones_side} clavicle fracture is seen.",
        "There is a {bones_side} clavicular fracture.",
    ),
}
ABSENT = ("There is no pneumothorax.", "No pneumothorax is seen.")
NO_EFFUSION = ("There is no pleural effusion.", "No pleural effusion is seen.")
EXPLANATION = {
    "nodule": (
        "The nodule should be followed up with CT.",
        "Follow-up of the {side} nodule with CT is advised.",
        "The {side} {zone} zone nodule may be a tumour.",
    ),
    "opacity": (
        "The opacity may represent pneumonia.",
        "This {side} lung opacity suggests pneumonia.",
        "The {side} {zone} zone opacity may be infectious.",
    ),
    "effusion": (
        "The adjacent {side} lung is compressed by the effusion.",
        "The effusion may explain shortness of breath.",
        "Drainage of the {side} effusion may be considered.",
    ),
    "cavity": (
        "The cavity may represent an old infection.",
        "This {side} cavity suggests earlier infection.",
        "The {side} {zone} zone cavity should be followed up with CT.",
    ),
    "enlarged": (
        "The enlarged heart may indicate cardiac failure.",
        "Cardiac failure may explain the enlarged heart.",
    ),
    "fracture": (
        "The {bones_side} clavicle fracture may explain shoulder pain.",
        "The fracture suggests trauma.",
    ),
    "normal": ("No follow-up is needed.", "No further imaging is needed."),
}
IMPRESSION = {
    "focal": (
        "Impression: {side} {zone} zone {kind}.",
        "Impression: {lesion} in the {side} {zone} zone.",
        "In summary, there is a {side} {zone} zone {kind}.",
        "In summary, there is a {lesion} in the {side} lung.",
    ),
    "effusion": (
        "Impression: {side} pleural effusion.",
        "Impression: {size} {side} pleural effusion.",
        "In summary, there is a {side} pleural effusion.",
        "In summary, there is a {size} pleural effusion on the {side}.",
    ),
    "enlarged": ("Impression: cardiomegaly.", "In summary, the heart is enlarged."),
    "fracture": (
        "Impression: {bones_side} clavicle fracture.",
        "In summary, the {bones_side} clavicle is fractured.",
    ),
    "normal": ("Impression: no acute abnormality.", "In summary, this is a normal study."),
}
_LEFT_OUT = (
    0.15,
    0.15,
    0.4,
    0.15,
    0.15,
)  # weights: device, bones, absence, explanation, impression


def main_finding(truth: ChestTruth) -> str:
    """What explanation and impression are about: a kind, "enlarged", "fracture" or "normal"."""
    if truth.has_lesion:
        return truth.kind
    if truth.heart == "enlarged":
        return "enlarged"
    return "fracture" if truth.bones == "fracture" else "normal"


def lesion_phrase(truth: ChestTruth) -> str:
    """The lesion with size and density: "small dense nodule"."""
    words = (truth.size, truth.density, NAMES.get(truth.kind, truth.kind))
    return " ".join(word for word in words if word)


def fill(template: str, truth: ChestTruth, device_name: str = "") -> str:
    """The template filled with the truth's attributes; {Lesion} and {Size} begin a sentence."""
    phrase = lesion_phrase(truth)
    values = truth.attributes() | {"lesion": phrase, "Lesion": phrase.capitalize()}
    values |= {"Size": truth.size.capitalize(), "device": device_name}
    return template.format_map(values)


def lungs_sentence(truth: ChestTruth, rng: np.random.Generator) -> str:
    """The lesion with all of its attributes, or clear lungs."""
    draw = int(rng.integers(12))
    templates = {"none": CLEAR, "effusion": EFFUSION}.get(truth.kind, FOCAL)
    return fill(templates[draw % len(templates)], truth)


def heart_sentence(truth: ChestTruth, rng: np.random.Generator) -> str:
    """The size of the heart."""
    return pick(rng, HEART[truth.heart])


def device_sentence(truth: ChestTruth, rng: np.random.Generator) -> str:
    """The line or tube with its side, or that there is none."""
    draw, name = int(rng.integers(4)), int(rng.integers(2))
    if not truth.device_side:
        return NO_DEVICE[draw]
    names = DEVICE_NAMES[truth.device]
    return fill(DEVICE[draw], truth, names[name % len(names)])


def bones_sentence(truth: ChestTruth, rng: np.random.Generator) -> str:
    """The broken clavicle, or that the bones are intact."""
    return fill(pick(rng, BONES[truth.bones]), truth)


def absence_sentence(truth: ChestTruth, rng: np.random.Generator) -> str:
    """Something that is not there."""
    draw, effusion = int(rng.integers(2)), rng.random() < 0.5
    return (NO_EFFUSION if effusion and truth.kind != "effusion" else ABSENT)[draw]


def explanation(truth: ChestTruth, rng: np.random.Generator) -> str:
    """What follows from the main finding."""
    draw = int(rng.integers(6))
    templates = EXPLANATION[main_finding(truth)]
    return fill(templates[draw % len(templates)], truth)


def impression(truth: ChestTruth, rng: np.random.Generator) -> str:
    """The main finding once more."""
    draw, finding = int(rng.integers(4)), main_finding(truth)
    templates = IMPRESSION.get(finding, IMPRESSION["focal"])
    return fill(templates[draw % len(templates)], truth)


def report(truth: ChestTruth, rng: np.random.Generator) -> str:
    """Four to seven sentences: lungs and heart first, then the others, an impression last."""
    lungs, heart = lungs_sentence(truth, rng), heart_sentence(truth, rng)
    first = [heart, lungs] if rng.random() < 0.3 else [lungs, heart]
    optional = {
        "device": device_sentence(truth, rng),
        "bones": bones_sentence(truth, rng),
        "absence": absence_sentence(truth, rng),
        "explanation": explanation(truth, rng),
        "impression": impression(truth, rng),
    }
    left_out = rng.choice(list(optional), int(rng.integers(4)), replace=False, p=_LEFT_OUT)
    places = {name: rng.random() for name in optional} | {"impression": 2.0}
    if rng.random() < 0.3:
        places["explanation"] = -1.0
    others = sorted(optional.keys() - set(left_out), key=places.__getitem__)
    return " ".join([*first, *(optional[name] for name in others)])


def report_question(rng: np.random.Generator) -> str:
    """One of the questions that ask for a report."""
    return pick(rng, REPORT_QUESTIONS)


def words(template: str) -> set[str]:
    """The lower-case words of a template, without its fields."""
    literal = " ".join(text for text, *_ in string.Formatter().parse(template))
    return set(literal.lower().replace("-", " ").replace(".", " ").replace(":", " ").split())
