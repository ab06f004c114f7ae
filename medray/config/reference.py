"""docs/keys.md, generated from the sections: `python -m medray.config.reference > docs/keys.md`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.json_schema import PydanticJsonSchemaWarning

from medray.config.sections import Config

Schema = dict[str, Any]
HEAD = """# Every key

What each key of a configuration takes, and its default. This page is generated from the code;
[configuration.md](configuration.md) says what the keys mean.
"""
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters",
}
TYPES = {
    "boolean": "true or false",
    "null": "null",
    "object": "a mapping of names to numbers > 0",
    "string": "text",
}


def reference() -> str:
    """The page, in Markdown."""
    with warnings.catch_warnings():  # {} of a type of its own is no JSON: see _default
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        schema = Config.model_json_schema(by_alias=True)
    parts = [HEAD]
    for name, section in schema["properties"].items():
        rows = "\n".join(_row(*found) for found in _keys(schema, section, name))
        parts.append(f"## {name}\n\n| key | takes | default |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _keys(schema: Schema, node: Schema, key: str) -> Iterator[tuple[str, str, str]]:
    """(key, what it takes, default) of a section and those within it."""
    inner = _resolved(schema, node)
    fields = inner.get("properties")
    if fields is None:
        yield key, _takes(inner), _default(inner)
        return
    if key == "eval.data":
        yield key, "the keys of data, or null", "`null`"
        return
    if key == "model.lora":
        yield key, "these keys, or null", "all at their defaults"
    for name, field in fields.items():
        yield from _keys(schema, field, f"{key}.{name}")
    if inner.get("additionalProperties"):
        yield f"{key}.…", "the hyper-parameters of that objective", "its own"


def _resolved(schema: Schema, node: Schema) -> Schema:
    """Without references, and without the null of what may be left out."""
    if "$ref" in node:
        found = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return {**found, **{k: v for k, v in node.items() if k != "$ref"}}
    options = node.get("anyOf", ())
    sections = [option for option in options if "$ref" in option]
    return _resolved(schema, sections[0]) if sections else node


def _takes(node: Schema) -> str:
    if "anyOf" in node:
        return " or ".join(map(_takes, node["anyOf"]))
    if "prefixItems" in node:
        return f"a list of {len(node['prefixItems'])}: {_takes(node['prefixItems'][0])} each"
    for key in ("const", "enum"):
        if key in node:
            values = node[key] if key == "enum" else [node[key]]
            return ", ".join(f"`{_text(value)}`" for value in values)
    kind = str(node.get("type"))
    if kind == "array":
        return f"a list of {_takes(node['items'])}"
    limits = [text.format(node[key]) for key, text in LIMITS.items() if key in node]
    return " ".join([TYPES.get(kind, f"{'an' if kind[0] in 'aio' else 'a'} {kind}"), *limits])


def _default(node: Schema) -> str:
    if node.get("type") == "object":
        return "`{}`"
    return f"`{_text(node['default'])}`" if "default" in node else "required"


def _text(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def _row(key: str, takes: str, default: str) -> str:
    return f"| `{key}` | {takes} | {default} |"


if __name__ == "__main__":
    print(reference(), end="")
