"""The manifests of cluster/, and ways to plant a mistake in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from medray.config import load_config
from medray.manifest import Checked, check_manifest
from medray.manifest.documents import read_documents
from tests.support.paths import ROOT

CONFIGS = {
    "smoke": "configs/quickstart.yaml",
    "one-gpu": "configs/one_gpu.yaml",
    "gpu-groups": "configs/one_gpu.yaml",
    "interactive": "configs/one_gpu.yaml",
}
# What a run on the cluster that stays is submitted with.
SUBMITTED = (
    *("run.output=/mnt/runs", "model.path=/mnt/data/model", "data.path=/mnt/data/cases"),
    *("generator.colocated=false", "faults.nodes_within=600"),
)


def objects(use: str) -> dict[str, dict[str, Any]]:
    """All objects of a folder of cluster/ by kind; of several of one kind, the last."""
    documents = read_documents(str(ROOT / "cluster" / use))
    # Anchors share parts of the tree: copy by value, so that a planted mistake stays in one place.
    return {document.kind: json.loads(json.dumps(document.tree)) for document in documents}


def check(place: Path | str, use: str, overrides: Sequence[str] = ()) -> Checked:
    """As `medray check CONFIG overrides --manifest place` does, with the configuration of `use`."""
    config = str(ROOT / CONFIGS[use])

    def load(entrypoint: list[str] | None) -> Any:
        return load_config(config, list(overrides) if entrypoint is None else entrypoint)

    return check_manifest(str(place), config, load)


def lines(place: Path | str, use: str, overrides: Sequence[str] = ()) -> list[str]:
    """The mistakes, as printed, without the file's name."""
    return [str(m).removeprefix(f"{place}: ") for m in check(place, use, overrides).mistakes]


def write(path: Path, trees: Sequence[dict[str, Any]]) -> Path:
    path.write_text(yaml.safe_dump_all(trees, sort_keys=False))
    return path


def change(tree: dict[str, Any], place: str, value: Any) -> None:
    """Set what is at a dotted place; ... removes it."""
    *above, last = place.split(".")
    node: Any = tree
    for step in above:
        node = node[int(step) if step.isdigit() else step]
    key: Any = int(last) if last.isdigit() else last
    if value is ...:
        del node[key]
    elif isinstance(node, list) and key == len(node):
        node.append(value)
    else:
        node[key] = value
