"""methods.md: what a paper's methods section needs, from what the runs recorded."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from medray.config import Config
from medray.files import read_file, write_text
from medray.objectives import find_objective
from medray.rundir import RunDirectory, installed_versions, source_commit
from medray.study.design import Study
from medray.study.results import CellResult
from medray.study.tables import caption


def write_methods(study: Study, results: Sequence[CellResult]) -> Path:
    """Write methods.md into the study's folder."""
    configs = {cell.name: study.config(cell) for cell in study.cells}
    runs = [RunDirectory(study.path / "cells" / name) for name in configs]
    runs = [run for run in runs if run.holds_run]
    sections = [
        f"# Methods of {study.name}",
        _design(study, results),
        _training(list(configs.values())),
        "## Objectives",
        *_objectives(list(configs.values())),
        "## Evaluation",
        _evaluation(study),
        "## Data and models",
        _digests(runs),
        "## Software",
        _software(runs),
    ]
    path = study.path / "methods.md"
    write_text(path, "\n\n".join(sections) + "\n")
    return path


def _design(study: Study, results: Sequence[CellResult]) -> str:
    done = sum(not result.failure for result in results)
    lines = [f"{len(results)} runs, of which {done} ended; base configuration `{study.base.name}`."]
    for table in study.tables:
        levels: dict[str, dict[str, None]] = {}
        for cell in table.cells:
            for key, label in cell.levels:
                levels.setdefault(key, {})[label] = None
        name = f"Table {table.name}: " if table.name else ""
        lines.append(f"- {name}" + "; ".join(f"{key}: {', '.join(v)}" for key, v in levels.items()))
    return "\n".join(lines)


def _training(configs: Sequence[Config]) -> str:
    """The settings that all runs share; keys that differ are named."""
    keyed = [_flat(config) for config in configs]
    shared = {k: v for k, v in keyed[0].items() if all(other.get(k) == v for other in keyed)}
    differing = sorted({k for keys in keyed for k in keys} - shared.keys() - {"run.name"})
    wanted = ("model.", "data.", "generator.", "corruption.", "learner.", "loop.", "targeting.")
    rows = [f"- `{k}`: {json.dumps(v)}" for k, v in shared.items() if k.startswith(wanted)]
    return "\n".join(
        [
            "## Training",
            "",
            "Runs differ in " + ", ".join(f"`{key}`" for key in differing) + ". Shared:",
            "",
            *rows,
        ]
    )


def _flat(config: Config) -> dict[str, object]:
    sections = config.model_dump(mode="json", by_alias=True)
    return {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
    }


def _objectives(configs: Sequence[Config]) -> list[str]:
    """Formula, source and hyper-parameters of every objective, as its code documents them."""
    used: dict[str, dict[str, None]] = {}
    for config in configs:
        objective = find_objective(config.objective.name)
        values = objective.resolve(config.objective.hyperparameters)
        text = ", ".join(f"{key} = {value}" for key, value in values.items()) or "none"
        used.setdefault(objective.name, {})[text] = None
    families: dict[str, list[str]] = {}
    for name in used:
        families.setdefault(find_objective(name).compute.__module__, []).append(name)
    parts = []
    for module, names in families.items():
        parts.append(f"```\n{inspect.getdoc(sys.modules[module])}\n```")
        for name in names:
            formula = inspect.getdoc(find_objective(name).compute) or ""
            settings = "; ".join(used[name])
            parts.append(f"**{name}**, hyper-parameters: {settings}.\n\n```\n{formula}\n```")
    return parts


def _evaluation(study: Study) -> str:
    lines = [
        "Greedy answers to the first studies of the held-out part, the same for every run. The "
        "figures are those of the evaluation after the last step; docs/evaluation.md defines them."
    ]
    for table in study.tables:
        lines.append(f"{table.name + ': ' if table.name else ''}{caption(table)}")
    return "\n\n".join(lines)


def _digests(runs: Sequence[RunDirectory]) -> str:
    """sha256 of what runs started from: each different set of inputs once."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for name, digest in _inputs(run).items():
            models = run.read_config()
            what = models.data.kind if name == "cases" else models.model.path
            found.setdefault(f"- {name} ({what}): `{digest}`", []).append(run.path.name)
    if not found:
        return "No run has started."
    return "\n".join(f"{line}, {len(names)} runs" for line, names in found.items())


def _inputs(run: RunDirectory) -> Mapping[str, str]:
    try:
        content = json.loads(read_file(run.logs / "inputs.json"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _software(runs: Sequence[RunDirectory]) -> str:
    versions: dict[str, dict[str, None]] = {}
    for recorded in [run.read_versions() for run in runs] or [installed_versions()]:
        for package, version in recorded.items():
            versions.setdefault(package, {})[version] = None
    text = ", ".join(f"{package} {' and '.join(found)}" for package, found in versions.items())
    commit = source_commit(digits=40) or "not known (no checkout)"
    return f"{text}.\n\nCommit of medray when this file was written: {commit}."
