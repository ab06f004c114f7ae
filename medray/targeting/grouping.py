"""Under which names errors are counted: by type, or by what must be seen (MedHEval's classes).

A question has one class, whatever its answer says. A report has those of the types of its errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from medray.editing.reading.options import stem_of
from medray.records import Case
from medray.targeting.visual_classes import VisualClass, visual_class

Grouping = Literal["error_type", "visual_class"]  # targeting.by

TYPES_OF: Mapping[VisualClass, tuple[str, ...]] = {
    "anatomical": ("organ",),
    "measurement": ("side", "zone", "size", "count", "plane"),
    "symptom": ("presence", "kind", "grade", "attribute"),
    "technique": ("modality",),
}
CLASS_OF = {kind: name for name, kinds in TYPES_OF.items() for kind in kinds}


def question_class(case: Case, by: Grouping) -> VisualClass | None:
    """The class that all answers to a case are counted under; None if that depends on them."""
    if by == "error_type" or case.answer_type == "report":
        return None
    return visual_class(stem_of(case.question))


def names_of(types: Iterable[str], by: Grouping) -> set[str]:
    """The names of error types: themselves, or their classes."""
    if by == "error_type":
        return set(types)
    return {CLASS_OF[kind] for kind in types if kind in CLASS_OF}


def by_type(values: Mapping[str, float], by: Grouping) -> dict[str, float]:
    """Values by name, and if names are classes, also by the types of each class."""
    if by == "error_type":
        return dict(values)
    types = {kind: values[name] for kind, name in CLASS_OF.items() if name in values}
    return dict(values) | types
