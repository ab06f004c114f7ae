"""Which other values a wrong variant may have: those of the same level, and never a third one where
the question names its alternatives."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medray.editing.ontology.lexicon import Attribute

REGIONS = ("head", "brain", "neck", "chest", "abdomen", "pelvis")
_GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "plane": (("axial", "coronal", "sagittal"), ("pa", "ap", "lateral")),
    "sequence": (("t1", "t2", "flair"), ("dwi", "t1", "t2", "flair")),
    "colour": (("black", "white", "gray"),),
    "shape": (("round", "oval", "irregular"), ("triangular", "round", "oval")),
    "substance": (("fluid", "air", "fat", "blood", "calcium"),),
    "position": (("supine", "prone", "upright"),),
    "vessel": (
        ("mca", "aca", "pca"),
        ("basilar", "vertebral", "internal_carotid"),
        ("aorta", "pulmonary_artery"),
        ("portal_vein", "hepatic_vein", "splenic_vein", "superior_mesenteric_vein"),
        ("hepatic_artery", "splenic_artery", "renal_artery", "superior_mesenteric_artery"),
        ("subclavian_vein", "jugular_vein", "brachiocephalic"),
        ("svc", "ivc"),
        ("iliac_artery", "femoral_artery"),
        ("iliac_vein", "femoral_vein"),
    ),
    "organ": (
        ("lung", "heart"),
        ("liver", "kidney", "spleen", "pancreas", "stomach"),
        ("bladder", "rectum", "colon"),
        ("gallbladder", "pancreas", "spleen"),
        ("small_bowel", "colon", "stomach"),
        ("bowel", "liver", "kidney"),
        ("trachea", "esophagus"),
        ("brain", "lung", "heart", "liver"),
        ("lateral_ventricle",),
        ("third_ventricle", "fourth_ventricle"),
        ("hand", "foot"),
        ("knee", "shoulder", "hip", "elbow"),
        ("rib", "clavicle", "scapula", "sternum"),
        ("adrenal", "kidney", "pancreas"),
    ),
}
_SYSTEMS = {
    "lung": "respiratory system",
    "heart": "cardiovascular system",
    "brain": "central nervous system",
    "bowel": "gastrointestinal system",
    "bone": "musculoskeletal system",
}
_ASKS_REGION = re.compile(
    r"\b(?:part|parts|region|area|aspect|section)\b.*\b(?:body|belong\w*)\b|\bbelong\w*\s+to\b|"
    r"\bwhere\s+(?:does|is|was)\s+(?:the|this)\s+(?:image|picture|scan)\b|\bin\s+the\s+body\b",
    re.IGNORECASE,
)
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def other_values(
    attribute: Attribute, value: str, surface: str, form: str, question: str, named: Sequence[str]
) -> list[tuple[str, str]]:
    """The values that a variant may have in place of `value`, each with the words for it; [] if
    none is plausible. `surface`: how the right value is written; `named`: the values that the
    question offers as alternatives.
    """
    if attribute.name == "organ" and "system" in surface.lower():
        return [(other, name) for other, name in _SYSTEMS.items() if other != value]
    if len(named) > 1:
        values = tuple(named)
    elif attribute.name == "organ" and _ASKS_REGION.search(question):
        values = REGIONS[1:] if value in REGIONS else ()
    else:
        values = _level(attribute, value)
    return [
        (other, attribute.forms[other][form])
        for other in values
        if form in attribute.forms.get(other, ()) and not attribute.related(other, value)
    ]


def _level(attribute: Attribute, value: str) -> tuple[str, ...]:
    """The values beside one: those of its group, else of its part of the body, else all."""
    if attribute.name in ("count", "number"):
        if value not in _NUMBERS:
            return ("one",) if value == "multiple" else ()
        place = _NUMBERS.index(value)
        near = _NUMBERS[max(0, place - 2) : place + 3]
        return tuple(v for v in near if v != value)
    groups = _GROUPS.get(attribute.name)
    if groups is None:
        return tuple(attribute.variants)
    for group in groups:
        if value in group:
            return group
    if attribute.name != "organ":
        return ()
    if value in REGIONS:
        return tuple(v for v in REGIONS if v != "head")
    parts = attribute.part_of.get(value, frozenset())
    if len(parts) < 2:
        return ()
    return tuple(v for v in attribute.forms if attribute.part_of.get(v) == parts)
