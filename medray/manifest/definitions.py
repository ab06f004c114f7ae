"""Definitions of Kubernetes objects as JSON Schemas that refuse unknown fields.

`kuberay.json` holds the schema of KubeRay's RayJob, of which that of a RayCluster is a part, and so
are those of pods, claims and network policies. It is the CRD's own (Apache-2.0), without
descriptions, what occurs several times standing once; `trim` makes it.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema

Schema = dict[str, Any]

SHARED = 150  # characters from which on a part that occurs several times is moved to $defs
INT_RANGES = {"int32": 2**31, "int64": 2**63}
COPIED = ("type", "enum", "pattern", "minLength", "maxLength", "minItems", "minimum")
UNDERSTOOD = {
    *COPIED,
    *("properties", "required", "additionalProperties", "items", "format", "nullable", "default"),
    *("anyOf", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-map-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields"),
    "x-kubernetes-validations",  # CEL rules: see rules/
}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA: Schema = {
    "type": "object",
    "properties": {
        **{key: {"type": "string"} for key in ("name", "namespace", "generateName")},
        **dict.fromkeys(("labels", "annotations"), TEXTS),
    },
    "required": ["name"],
}
RAY_KINDS = ("RayJob", "RayCluster")


def trim(crd: Schema) -> Schema:
    """Version v1 of a CRD as what `kuberay.json` holds."""
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    schema = _without_descriptions(version["schema"]["openAPIV3Schema"])
    del schema["properties"]["status"]
    return _with_parts_once(schema)


def _without_descriptions(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_descriptions(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [_without_descriptions(item) for item in node] if isinstance(node, list) else node


def _with_parts_once(schema: Schema) -> Schema:
    def key_of(node: Any) -> str:
        return json.dumps(node, sort_keys=True)

    counts = Counter(key_of(node) for node in _objects(schema))
    parts: dict[str, tuple[str, Any]] = {}

    def share(node: Any) -> Any:
        if isinstance(node, list):
            return [share(item) for item in node]
        if not isinstance(node, dict):
            return node
        inner = {key: share(value) for key, value in node.items()}
        key = key_of(node) if "properties" in node else ""
        if counts[key] < 2 or len(key) < SHARED:
            return inner
        name, _ = parts.setdefault(key, (f"part{len(parts) + 1}", inner))
        return {"$ref": f"#/$defs/{name}"}

    shared = share(schema)
    return {**shared, "$defs": dict(parts.values())}


def _objects(node: Any) -> Iterator[Schema]:
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from _objects(child)


@functools.cache
def checker_of(kind: str) -> Any | None:
    """The validator of a kind of object; None for kinds without a definition here."""
    schema = _schemas().get(kind)
    if schema is None:
        return None
    parts = {name: strict(part) for name, part in _kuberay()["$defs"].items()}
    return Checker({**schema, "$defs": parts})


@functools.cache
def _kuberay() -> Schema:
    text = (resources.files("medray.manifest") / "kuberay.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


@functools.cache
def _schemas() -> dict[str, Schema]:
    job = _kuberay()
    cluster = _at(job, "spec", "rayClusterSpec")
    volume = _at(cluster, "headGroupSpec", "template", "spec", "volumes", "[]")
    rules = _at(cluster, "networkPolicy", "head")
    selector = _at(rules, "ingressRules", "[]", "from", "[]", "podSelector")
    policy = {
        "type": "object",
        "properties": {
            "podSelector": selector,
            "policyTypes": {"type": "array", "items": {"enum": ["Ingress", "Egress"]}},
            "ingress": _at(rules, "ingressRules"),
            "egress": _at(rules, "egressRules"),
        },
        "required": ["podSelector"],
    }
    claim = _at(volume, "ephemeral", "volumeClaimTemplate", "spec")
    text, texts, flag = {"type": "string"}, TEXTS, {"type": "boolean"}
    return {
        "RayJob": _object("ray.io/v1", "RayJob", spec=_at(job, "spec")),
        "RayCluster": _object("ray.io/v1", "RayCluster", spec=cluster),
        "PersistentVolumeClaim": _object("v1", "PersistentVolumeClaim", spec=claim),
        "NetworkPolicy": _object("networking.k8s.io/v1", "NetworkPolicy", spec=policy),
        "ConfigMap": _object("v1", "ConfigMap", data=texts, binaryData=texts),
        "Secret": _object("v1", "Secret", data=texts, stringData=texts, type=text),
        "PriorityClass": _object(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            value={"type": "integer", "format": "int32"},
            preemptionPolicy={"enum": ["Never", "PreemptLowerPriority"]},
            globalDefault=flag,
            description=text,
        ),
    }


def _at(schema: Schema, *fields: str) -> Schema:
    """The schema of a field ("[]": of the items of a list), references followed."""
    for field in fields:
        schema = schema["items"] if field == "[]" else schema["properties"][field]
        if "$ref" in schema:
            schema = _kuberay()["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _object(version: str, kind: str, **fields: Schema) -> Schema:
    constants = {"apiVersion": {"enum": [version]}, "kind": {"enum": [kind]}}
    strictly = {name: strict(field) for name, field in fields.items()}
    return {
        "type": "object",
        "properties": {**constants, "metadata": strict(METADATA), **strictly},
        "required": ["apiVersion", "kind", "metadata", *(["spec"] if "spec" in fields else [])],
        "additionalProperties": False,
    }


def strict(schema: Schema) -> Schema:
    """A structural schema as a JSON Schema that refuses unknown fields."""
    if "$ref" in schema:
        return schema
    unknown = schema.keys() - UNDERSTOOD - {"$defs"}
    assert not unknown, f"not understood: {unknown}"
    out = {key: schema[key] for key in COPIED if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    if limit := INT_RANGES.get(schema.get("format", "")):
        out = {"minimum": -limit, "maximum": limit - 1} | out
    elif schema.get("format") == "date-time":
        out["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
    if schema.get("nullable"):
        out["type"] = [out["type"], "null"]
    if "items" in schema:
        out["items"] = strict(schema["items"])
        if schema.get("x-kubernetes-list-type") == "set":
            out["uniqueItems"] = True
        elif schema.get("x-kubernetes-list-type") == "map":
            out["uniqueBy"] = schema["x-kubernetes-list-map-keys"]
    if schema.get("type") == "object":
        out |= _strict_object(schema)
    return out


def _strict_object(schema: Schema) -> Schema:
    fields = schema.get("properties", {})
    out: Schema = {"properties": {name: strict(field) for name, field in fields.items()}}
    # The server fills in defaults before it checks required fields.
    out["required"] = [n for n in schema.get("required", ()) if "default" not in fields.get(n, {})]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        out["additionalProperties"] = strict(extra)
    elif not extra and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    return out


def _check_unique_by(
    validator: Any, keys: list[str], items: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    """Lists that act as maps: no two items with the same keys (names of containers, …)."""
    named = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    rows = [", ".join(str(item.get(key)) for key in keys) for item in named]
    for row, count in Counter(rows).items():
        if count > 1:
            yield jsonschema.ValidationError(row)


Checker = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"uniqueBy": _check_unique_by}
)
