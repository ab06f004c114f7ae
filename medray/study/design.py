"""From a study file to its cells: the product of the grid, each an ordinary run.

study:    {name: variants, output: studies}
base:     quickstart.yaml                     beside this file, or one that medray ships
set:      {loop.steps: 20}                    for every cell
grid:
  objective.name: [sft, dpo, fire]
  backbone:                                   keys that go together, under a label
    - {label: llava, model.path: phantom/base, learner.lr: 5.0e-4}
  run.seed: [0, 1, 2]                         seeds are averaged over
baseline: {objective.name: sft}

Instead of `grid` and `baseline` there may be several tables, each with its own. A cell that several
of them have is run once.

tables:
  losses: {grid: {objective.name: [sft, dpo], run.seed: [0, 1]}, baseline: {objective.name: sft}}
  online: {grid: {loop.resample_every: [0, 1], run.seed: [0, 1]}}
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from medray.config import YAML_ERRORS, Config, UniqueKeyLoader, load_config
from medray.errors import ConfigError
from medray.files import read_file
from medray.objectives import needs_of

SEEDS = ("run.seed", "data.seed")
SECTIONS = ("study", "base", "set", "grid", "baseline", "tables")
MAX_CELLS = 10_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study. `levels`: (grid key, label) pairs, in the order of the grid."""

    name: str
    levels: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...]

    @property
    def group(self) -> tuple[tuple[str, str], ...]:
        """The levels without the seeds: cells of one group are averaged."""
        return tuple(level for level in self.levels if level[0] not in SEEDS)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells that are compared with each other. `baseline`: levels of those that the others are
    compared with. `name`: "" if the study has only this one."""

    name: str
    cells: tuple[Cell, ...]
    baseline: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A study file, checked. Cells of several tables that are the same run have one name."""

    name: str
    output: Path
    base: Path
    tables: tuple[Table, ...]

    @property
    def path(self) -> Path:
        return self.output / self.name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every run once, in the order of the tables."""
        cells: dict[str, Cell] = {}
        for table in self.tables:
            for cell in table.cells:
                cells.setdefault(cell.name, cell)
        return tuple(cells.values())

    def config(self, cell: Cell) -> Config:
        """The configuration of a cell. Raises ConfigError."""
        place = (
            f"run.name={json.dumps(cell.name)}",
            f"run.output={json.dumps(str(self.path / 'cells'))}",
        )
        return load_config(self.base, (*cell.overrides, *place))


def read_study(path: Path, overrides: tuple[str, ...] = ()) -> Study:
    """Read a study file; `overrides` are for every cell. Raises ConfigError, also if the
    configuration of a cell is wrong."""
    tree = _read(path)
    for key in tree:
        if key not in SECTIONS:
            raise ConfigError(f"{path}: {key}", "unknown key", f"known: {', '.join(SECTIONS)}")
    head, fixed = _mapping(path, tree, "study"), _mapping(path, tree, "set")
    name, output = head.get("name", path.stem), head.get("output", "studies")
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ConfigError(f"{path}: study.name = {name!r}", "is not a name", "use letters, digits")
    if not isinstance(tree.get("base"), str):
        raise ConfigError(f"{path}: base", "is missing", "give the path of a configuration")
    tables = _tables(path, tree, fixed, overrides)
    study = Study(name, Path(str(output)), _base(path, tree["base"]), tables)
    return replace(study, tables=_without_repeats(study))


def _base(path: Path, name: str) -> Path:
    """Beside the study file, or one that medray ships."""
    beside, shipped = path.parent / name, Path(str(resources.files("medray"))) / "configs" / name
    return shipped if shipped.is_file() and not beside.exists() else beside


def _tables(
    path: Path, tree: dict[str, Any], fixed: dict[str, Any], overrides: tuple[str, ...]
) -> tuple[Table, ...]:
    """The tables of the file, or the one that its grid describes."""
    given = _mapping(path, tree, "tables")
    for key in ("grid", "baseline") if given else ():
        if key in tree:
            raise ConfigError(f"{path}: {key}", "stands beside tables", f"move {key} into one")
    found = []
    for name, table in (given or {"": tree}).items():
        where = f"{path}: tables.{name}" if name else str(path)
        if not isinstance(table, dict) or (name and NAME.fullmatch(name) is None):
            raise ConfigError(where, "is not a named table", "write NAME: {grid: …, baseline: …}")
        for key in table if name else ():
            if key not in ("grid", "baseline"):
                raise ConfigError(f"{where}.{key}", "unknown key", "known: grid, baseline")
        grid = _mapping(where, table, "grid")
        if not grid:
            raise ConfigError(f"{where}: grid", "is empty", "give the keys that differ")
        cells = _cells(where, name, fixed, grid, overrides)
        baseline = _baseline(where, _mapping(where, table, "baseline"), cells)
        found.append(Table(name, cells, baseline))
    return tuple(found)


def _without_repeats(study: Study) -> tuple[Table, ...]:
    """The tables; a cell with the configuration of an earlier one has its name. Raises ConfigError
    if the configuration of a cell is wrong."""
    known: dict[str, str] = {}
    tables = []
    for table in study.tables:
        cells = []
        for cell in table.cells:
            config = study.config(cell)
            needs_of(config.objective)
            settings = config.model_dump_json(exclude={"run": {"name"}})
            cells.append(replace(cell, name=known.setdefault(settings, cell.name)))
        tables.append(replace(table, cells=tuple(cells)))
    return tuple(tables)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(read_file(path), UniqueKeyLoader)
    except OSError as error:
        why = error.strerror or "cannot be read"
        raise ConfigError(str(path), why, "give the path of a study file") from None
    except YAML_ERRORS as error:
        problem = " ".join(str(error).split())
        raise ConfigError(str(path), f"not valid YAML: {problem}", "fix that line") from None
    if not isinstance(tree, dict):
        raise ConfigError(str(path), "not a mapping of sections", "see docs/study.md")
    return tree


def _mapping(path: Path | str, tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{path}: {key}", "is not a mapping of keys", "write KEY: VALUE")
    return value


def _cells(
    path: str, table: str, fixed: dict[str, Any], grid: dict[str, Any], overrides: tuple[str, ...]
) -> tuple[Cell, ...]:
    axes = [
        [(key, *_level(path, key, value)) for value in _values(path, key, grid[key])]
        for key in grid
    ]
    if (number := math.prod(map(len, axes))) > MAX_CELLS:
        why = f"makes {number:,} runs, more than {MAX_CELLS:,}"
        raise ConfigError(f"{path}: grid", why, "leave values out, or write several studies")
    cells = []
    for combination in itertools.product(*axes):
        values = dict(fixed)
        for _, _, settings in combination:
            values |= settings
        levels = tuple((key, label) for key, label, _ in combination)
        name = "_".join([*filter(None, [table]), *(label for _, label in levels)])
        cells.append(Cell(name, levels, (*_as_overrides(values), *overrides)))
    names = [cell.name for cell in cells]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{path}: grid", f"two cells are named {twice}", "give entries a label")
    return tuple(cells)


def _values(path: str, key: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{path}: grid.{key}", "is not a list of values", "write [A, B]")
    return values


def _level(path: str, key: str, value: Any) -> tuple[str, dict[str, Any]]:
    """The label of one entry of the grid, and the keys that it sets."""
    settings = {key: value}
    label = str(value)
    if isinstance(value, dict):
        settings = {str(name): item for name, item in value.items() if name != "label"}
        if not settings:
            raise ConfigError(f"{path}: grid.{key}", "an entry sets no key", "add KEY: VALUE")
        label = str(value.get("label", Path(str(next(iter(settings.values())))).name))
    label = re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-._") or "none"
    return label, settings


def _as_overrides(values: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE texts. Another objective begins with its own hyper-parameters."""
    rest = {key: value for key, value in values.items() if key != "objective.name"}
    found = [f"{key}={json.dumps(value)}" for key, value in rest.items()]
    if "objective.name" in values:
        named = json.dumps({"name": values["objective.name"]})
        found.insert(0, f"objective={named}")
    return found


def _baseline(
    path: str, given: dict[str, Any], cells: tuple[Cell, ...]
) -> tuple[tuple[str, str], ...]:
    baseline = tuple((key, _level(path, key, value)[0]) for key, value in given.items())
    for level in baseline:
        if not any(level in cell.group for cell in cells):
            where = f"{path}: baseline.{level[0]} = {level[1]}"
            raise ConfigError(where, "no cell has it", "name a value of the grid")
    return baseline
