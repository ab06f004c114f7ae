"""From a YAML file and overrides to a configuration, or to an error that names the key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import BaseModel

from medray.config.sections import Config
from medray.config.yaml_text import YAML_ERRORS, UniqueKeyLoader
from medray.errors import ConfigError
from medray.files import read_file

# (name of an objective, hyper-parameters) → those of them that it does not have
ForeignKeys = Callable[[str, list[str]], Iterable[str]]

MAX_VALUES = 100_000
MAX_SHOWN = 200  # characters of a value in a message
_MAY_HOLD_A_KEY = {("url",), ("api_key_env",)}  # by mistake: their values are never shown


def load_config(
    path: str | os.PathLike[str],
    overrides: list[str] | tuple[str, ...] = (),
    foreign_keys: ForeignKeys = lambda objective, keys: (),
) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides (values parsed as YAML).

    If an override names another objective than the file, `foreign_keys` says which of the file's
    hyper-parameters that one does not have: they are dropped.
    Raises ConfigError with the key, the value and the remedy.
    """
    tree = _read_yaml(Path(path))
    written = dict(tree["objective"]) if isinstance(tree.get("objective"), dict) else {}
    for override in overrides:
        _apply_override(tree, override)
    _forget_other_objective(tree, written, foreign_keys)
    try:
        return Config.model_validate(_tuples(tree, iter(range(MAX_VALUES))))
    except pydantic.ValidationError as error:
        raise _explain(error, str(path)) from None
    except StopIteration:
        why = f"has more than {MAX_VALUES:,} values, with its aliases written out"
        raise ConfigError(str(path), why, "write what a run needs") from None
    except RecursionError:
        raise ConfigError(str(path), "an alias refers to itself", "write it out") from None


def _forget_other_objective(
    tree: dict[str, Any], written: dict[str, Any], foreign_keys: ForeignKeys
) -> None:
    """Drop what the file says to its own objective and another one, named later, does not have."""
    section = tree.get("objective")
    if not isinstance(section, dict) or section.get("name") == written.get("name"):
        return
    kept = [key for key in written if key != "name" and section.get(key) == written[key]]
    for key in foreign_keys(str(section.get("name")), kept):
        del section[key]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(read_file(path), UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file", "give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read ({error})", "give a YAML file") from None
    except YAML_ERRORS as error:
        problem = " ".join(str(error).split())
        raise ConfigError(str(path), f"not valid YAML: {problem}", "fix that line") from None
    if not isinstance(tree, dict):
        raise ConfigError(
            str(path), "not a mapping of sections", "start from configs/quickstart.yaml"
        )
    return tree


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(override, "not of the form key=value", "write for example loop.steps=5")
    *sections, last = key.split(".")
    node = tree
    for section in sections:
        child = node.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(override, f"{section} is not a section", "check the key")
        node = child
    try:
        node[last] = _scalar(yaml.load(text, UniqueKeyLoader))
    except YAML_ERRORS:
        raise ConfigError(override, "the value is not valid YAML", "quote it") from None


def _scalar(value: Any) -> Any:
    """Convert a string such as 3e-4, which YAML 1.1 does not read as a number."""
    if isinstance(value, str):
        try:
            return float(value) if any(c in value for c in "eE.") else value
        except ValueError:
            return value
    return value


def _tuples(node: Any, left: Iterator[int]) -> Any:
    """Turn lists into tuples (frozen) and strings such as 3e-4 into numbers, throughout. A value
    takes one of those `left`: a few aliases of aliases stand for billions. Raises StopIteration."""
    next(left)
    if isinstance(node, dict):
        items = [(str(key), _tuples(value, left)) for key, value in node.items()]
        return dict(items)
    if isinstance(node, list):
        found = []
        for value in node:
            found.append(_tuples(value, left))
        return tuple(found)
    return _scalar(node)


def _explain(error: pydantic.ValidationError, path: str) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the configuration"
    if first["type"] == "extra_forbidden":
        return ConfigError(f"{path}: {key}", "unknown key", _near_key(first["loc"]))
    if first["type"] == "missing":
        return ConfigError(f"{path}: {key}", "is missing", "add it")
    hidden = isinstance(first.get("input"), dict) or first["loc"][-1:] in _MAY_HOLD_A_KEY
    value = "" if hidden else f" = {first.get('input')!r:.{MAX_SHOWN}}"
    reason = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        f"{path}: {key}{value}", reason[:1].lower() + reason[1:], "correct the value"
    )


def _near_key(location: tuple[int | str, ...]) -> str:
    import difflib

    node: Any = Config
    for part in location[:-1]:
        field = node.model_fields.get(str(part))
        candidates = (
            [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        )
        sections = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not sections:
            return "see docs/configuration.md for the keys"
        node = sections[0]
    known = [field.alias or name for name, field in node.model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"did you mean {near[0]}?" if near else f"known keys here: {', '.join(known)}"
