"""What a run is made of: its settings beside the defaults, its data and models, its versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from medray.config import Config, DataConfig
from medray.records import Case
from medray.rundir import RunDirectory

HIDDEN_PLACE = "(in config.yaml)"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting with another value than elsewhere (by default, or in another run), as texts."""

    key: str
    value: str
    other: str


def without_places(config: Config) -> Config:
    """The configuration without the places of data and runs, whose folders may be named after
    patients: a report leaves the machine."""

    def hidden(data: DataConfig) -> DataConfig:
        return data.model_copy(update={"path": data.path and HIDDEN_PLACE})

    run = config.run.model_copy(update={"output": HIDDEN_PLACE})
    changes: dict[str, Any] = {"run": run, "data": hidden(config.data)}
    if config.eval.data is not None:
        other = {"data": hidden(config.eval.data)}
        changes["eval"] = config.eval.model_copy(update=other)
    return config.model_copy(update=changes)


def changed_settings(config: Config) -> list[Setting]:
    """The settings that are not at their defaults, in the order of the sections.

    Hyper-parameters of the objective are all of them: only torch's side knows their defaults.
    """
    defaults = dict(_leaves(Config(data=DataConfig(kind=config.data.kind))))
    hidden = dict(_leaves(without_places(config)))
    return [s for s in _differing(hidden, defaults) if s.value != HIDDEN_PLACE]


def settings_between(theirs: Config, ours: Config) -> list[Setting]:
    """The settings in which two runs differ, without their names and places."""
    other, own = (dict(_leaves(without_places(config))) for config in (theirs, ours))
    only_there = {key: value for key, value in other.items() if key not in own}
    found = _differing(own, other)
    found += [Setting(key, "–", _text(value)) for key, value in only_there.items()]
    return [setting for setting in found if setting.key != "run.name"]


def config_lines(config: Config) -> list[tuple[str, bool]]:
    """(line, whether it sets something else than the default) of config.yaml."""
    changed = {setting.key for setting in changed_settings(config)}
    lines: list[tuple[str, bool]] = []
    path: list[tuple[int, str]] = []
    for line in without_places(config).to_yaml().splitlines():
        indent = len(line) - len(line.lstrip(" "))
        name = line.strip().partition(":")[0]
        if not line.lstrip().startswith("- "):
            path = [*(entry for entry in path if entry[0] < indent), (indent, name)]
        key = ".".join(entry for _, entry in path)
        lines.append((line, key in changed))
    return lines


def origin(run: RunDirectory, config: Config, cases: Iterable[Case]) -> list[tuple[str, str]]:
    """(name, value): the data with their licences, the models, and the digests of both."""
    licences = Counter(case.licence or "not stated" for case in cases)
    rows: list[tuple[str, str]] = [("data", config.data.kind)]
    if licences:
        named = (f"{name} ({count:,} cases)" for name, count in licences.most_common(6))
        rows.append(("licence of the data", ", ".join(named)))
    rows.append(("model", config.model.path))
    digests = run.read_inputs()
    rows += [(f"sha256 of the {name}", digest) for name, digest in digests.items()]
    return rows


def _differing(ours: Mapping[str, Any], others: Mapping[str, Any]) -> list[Setting]:
    """Settings of `ours` that `others` lacks or has otherwise."""
    return [
        Setting(key, _text(value), _text(others[key]) if key in others else "–")
        for key, value in ours.items()
        if key not in others or value != others[key]
    ]


def _leaves(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of a configuration."""
    yield from _flat(section.model_dump(mode="json", by_alias=True))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:
    """As YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
