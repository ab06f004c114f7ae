"""The settings of a run that a tracker may be given: numbers, switches and choices.

Free text is left out, whatever it is: paths, addresses, and names of models, nodes and labels can
tell whose data they are. A setting that is added later is text until its type says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from medray.config import Config, ObjectiveConfig
from medray.objectives import find_objective

Shared = bool | int | float | str | None


def shared_settings(config: Config, architecture: str = "") -> dict[str, Shared]:
    """Dotted key → value, and `model.architecture`, as the hyper-parameters of a run."""
    return dict(_leaves(config)) | {"model.architecture": architecture}


def _leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Shared]]:
    for name, field in type(section).model_fields.items():
        key, value = f"{prefix}{field.alias or name}", getattr(section, name)
        if isinstance(value, ObjectiveConfig):
            yield from _objective(value, f"{key}.")
        elif isinstance(value, BaseModel):
            yield from _leaves(value, f"{key}.")
        elif isinstance(value, tuple):
            if value and all(_may_be_shared(item, field.annotation) for item in value):
                yield key, ", ".join(map(str, value))
        elif not isinstance(value, dict) and _may_be_shared(value, field.annotation):
            yield key, value


def _objective(objective: ObjectiveConfig, prefix: str) -> Iterator[tuple[str, Shared]]:
    """Its hyper-parameters, checked: a text among them is one of the choices that it offers."""
    found = find_objective(objective.name)
    yield f"{prefix}name", found.name
    for key, value in found.resolve(objective.hyperparameters).items():
        yield f"{prefix}{key}", value


def _may_be_shared(value: Any, annotation: Any) -> bool:
    if value is None:
        return str not in _plain_types(annotation)
    return isinstance(value, bool | int | float) or value in _choices(annotation)


def _choices(annotation: Any) -> set[Any]:
    """The values that a Literal within the annotation allows."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {choice for part in get_args(annotation) for choice in _choices(part)}


def _plain_types(annotation: Any) -> set[Any]:
    """The types that the annotation is made of, without those of choices."""
    if get_origin(annotation) is Literal:
        return set()
    parts = get_args(annotation)
    return {t for part in parts for t in _plain_types(part)} if parts else {annotation}
