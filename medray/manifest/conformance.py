"""An object against its definition, strictly: unknown fields, types, missing parts."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema

from medray.errors import UserError
from medray.manifest.definitions import RAY_KINDS, checker_of
from medray.manifest.documents import Document

# (what, why, what to do), `what` without the object's name
Mistake = tuple[str, str, str]
TYPES = {"object": "a mapping", "array": "a list", "string": "text", "integer": "an integer"}
TYPES |= {"number": "a number", "boolean": "true or false"}


def is_checked(document: Document) -> bool:
    """Whether there is a definition of objects of this kind."""
    return checker_of(document.kind) is not None


def conformance_mistakes(document: Document) -> list[UserError]:
    """Every place where the object differs from its definition, in the order of the file."""
    if not document.tree.get("kind"):
        return [UserError(f"{document.file}: a document", "has no kind", "write it")]
    checker = checker_of(document.kind)
    if checker is None:
        return []
    errors = sorted(
        checker.iter_errors(document.tree), key=lambda error: list(map(str, error.path))
    )
    found = [mistake for error in errors for mistake in _explained(error, document)]
    return [UserError(f"{document.label}: {what}", why, todo) for what, why, todo in found]


def is_ray(document: Document) -> bool:
    """Whether KubeRay's operator acts on it, and a run can be in it."""
    return document.kind in RAY_KINDS


def place_of(tree: Any, path: Sequence[str | int]) -> str:
    """A path as people read it: items of lists by their names."""
    text, node = "", tree
    for step in path:
        node = node[step]
        if isinstance(step, int):
            named = node if isinstance(node, dict) else {}
            text += f"[{named.get('groupName') or named.get('name') or step}]"
        else:
            text += f".{step}"
    return text.removeprefix(".")


def _explained(error: jsonschema.ValidationError, document: Document) -> Iterator[Mistake]:
    place, rule = place_of(document.tree, list(error.absolute_path)), error.validator
    inside = f"{place}." if place else ""
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for field in error.instance.keys() - set(known):
            yield f"{inside}{field}", "unknown field", _near(str(field), known)
    elif rule == "required":
        missing = [field for field in error.validator_value if field not in error.instance]
        # One error for each missing field; its message begins with the field.
        field = next(f for f in missing if error.message.startswith(f"'{f}'"))
        yield f"{inside}{field}", "is missing", "add it"
    elif rule == "uniqueBy":
        yield place, f"{error.message} occurs twice", "remove one of them"
    else:
        yield _of_value(place, error)


def _of_value(place: str, error: jsonschema.ValidationError) -> Mistake:
    what, rule, wanted = f"{place} = {error.instance!r}", error.validator, error.validator_value
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        named = " or ".join(TYPES.get(kind, kind) for kind in kinds)
        return what, f"must be {named}", _retyped(kinds, error.instance)
    if rule == "enum":
        near = difflib.get_close_matches(str(error.instance), map(str, wanted), n=1, cutoff=0.5)
        todo = f"did you mean {near[0]}?" if near else f"one of {', '.join(map(str, wanted))}"
        return what, "not a known value", todo
    if rule == "pattern":
        return what, "is not written as Kubernetes wants it", "such as 500m, 4, 8Gi"
    if rule in ("minimum", "maximum"):
        bound = "at least" if rule == "minimum" else "at most"
        return what, f"must be {bound} {wanted}", "correct it"
    return what, error.message[:200], "correct it"


def _retyped(kinds: Sequence[str], value: Any) -> str:
    if "string" in kinds and not isinstance(value, dict | list):
        return "put it in quotes"
    if isinstance(value, str) and {"integer", "number", "boolean"} & set(kinds):
        return "write it without quotes"
    return "correct it"


def _near(field: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(field, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(sorted(known)[:8])}…" if known else "remove it"
