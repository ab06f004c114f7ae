"""Imports run one way, between units and within them, and few files use ray, vllm, deepspeed.

A unit is a folder in `medray/` or `actors/`, or a file directly in one of them.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("medray", "actors")
    for path in sorted((ROOT / package).rglob("*.py"))
}
ENGINES = {"ray", "vllm", "deepspeed"}

# Lowest layer first: a unit imports from lower layers only, never from its own layer.
LAYERS = (
    "medray.terminal",
    "medray.errors medray.records medray.seeds",
    *("medray.files", "medray.config medray.process", "medray.rundir"),
    "medray.ledger medray.kept_answers medray.objectives medray.editing medray.imaging",
    *("medray.data", "medray.policy medray.targeting medray.localising medray.tracking"),
    *("medray.phantom", "medray.evaluation"),
    *(
        "medray.report medray.bench medray.plan medray.memory",
        "medray.study medray.review medray.manifest",
        "medray.cli",
    ),
    "actors.weights actors.accelerator",
    "actors.generator actors.editor actors.judge actors.learner actors.localiser",
    "actors.vllm_plugin",
    *("actors.head", "actors.fleet actors.cluster", "actors.loop"),
    *("actors.launch actors.evaluate actors.export", "actors.bench actors.study"),
)
LEVEL = {unit: level for level, layer in enumerate(LAYERS) for unit in layer.split()}
# Only the command line may import actors from medray, and only these.
ENTRY_POINTS = {f"actors.{name}" for name in ("launch", "evaluate", "export", "bench", "study")}


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module named in an import statement, at the top or inside a function."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            imported.add(node.module)
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(imported)


def unit_of(name: str) -> str:
    """`medray.data.jsonl` → `medray.data`; "" for the packages themselves and for others."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("medray", "actors") and len(parts) > 1 else ""


def upward(modules: Mapping[str, Iterable[str]]) -> list[str]:
    """Imports between units that do not run downwards; `modules`: name → imported names."""
    violations = []
    for module, names in modules.items():
        own = unit_of(module)
        for unit in {unit_of(name) for name in names} & LEVEL.keys() - {own, ""}:
            allowed = own == "medray.cli" and unit in ENTRY_POINTS
            if own and not allowed and LEVEL[unit] >= LEVEL[own]:
                violations.append(f"{module} imports {unit}")
    return violations


def circles(modules: Mapping[str, Iterable[str]]) -> list[str]:
    """Folders whose children, files and folders, import each other in a circle.

    Others import through a folder's `__init__`, so it counts as the folder.
    """
    edges: dict[str, dict[str, set[str]]] = {}  # folder → child → children it imports
    known = set(modules)
    for module, names in modules.items():
        for name in names:
            target = name if name in known else name.rpartition(".")[0]
            if target not in known:
                continue
            importer, imported = module.split("."), target.split(".")
            depth = next(
                (i for i, (a, b) in enumerate(zip(importer, imported, strict=False)) if a != b), 0
            )
            if depth:
                folder = edges.setdefault(".".join(importer[:depth]), {})
                folder.setdefault(importer[depth], set()).add(imported[depth])
    circular = []
    for folder, children in edges.items():
        remaining = {
            child: {n for n in names if n in children} for child, names in children.items()
        }
        while remaining:
            free = {child for child, names in remaining.items() if not names & remaining.keys()}
            if not free:
                circular.append(f"{folder}: {', '.join(sorted(remaining))}")
                break
            remaining = {child: names for child, names in remaining.items() if child not in free}
    return circular


def all_imports() -> dict[str, frozenset[str]]:
    return {module: imports_of(path) for module, path in MODULES.items()}


def users_of(engine: str) -> set[str]:
    return {m for m, names in all_imports().items() if engine in {n.split(".")[0] for n in names}}


def test_imports_are_read_at_any_level(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("import a.b\ndef f():\n    from c import d\n")
    assert imports_of(file) == {"a.b", "c", "c.d"}


def test_wrong_imports_would_be_found():
    assert upward({"medray.records": ["medray.config.Config"]}) != []
    assert upward({"medray.data.x": ["actors.launch"]}) != []
    assert upward({"actors.editor.actor": ["actors.learner"]}) != []
    assert upward({"medray.config": ["medray.errors"], "medray.cli": ["actors.launch"]}) == []
    ring = {"a.b.x": ["a.b.y.f"], "a.b.y": ["a.b.z"], "a.b.z": ["a.b.x"], "a.c": ["a.b.x"]}
    assert circles(ring) == ["a.b: x, y, z"]
    assert circles({"a.b.x": ["a.c"], "a.c": ["a.b.z"], "a.b.z": []}) == ["a: b, c"]
    assert circles({"a.b.x": ["a.b.y"], "a.b.y": [], "a.c": ["a.b.x"]}) == []


def test_every_unit_has_its_layer():
    units = {unit_of(module) for module in MODULES} - {""}
    assert units == set(LEVEL), "add the unit to its layer in LAYERS"


def test_imports_run_one_way():
    assert upward(all_imports()) == []


def test_no_circles():
    assert circles(all_imports()) == []


def test_engines_are_imported_only_by_their_users():
    assert {unit_of(module) for module in users_of("vllm")} == {"actors.generator", "actors.judge"}
    assert {unit_of(module) for module in users_of("deepspeed")} == {"actors.learner"}
    assert {module.split(".")[0] for module in users_of("ray")} == {"actors"}
    kinds = ("generator", "editor", "judge", "learner", "localiser")
    plain = {f"actors.{kind}.actor" for kind in kinds}
    assert not users_of("ray") & plain, "actors are plain classes"


def test_actors_never_import_each_other():
    rooms = ("generator", "editor", "judge", "learner", "localiser")
    kinds = {f"actors.{kind}" for kind in rooms}
    importers = {
        unit_of(m) for m, names in all_imports().items() if {unit_of(n) for n in names} & kinds
    }
    assert importers - kinds == {
        *("actors.fleet", "actors.bench", "actors.export", "actors.vllm_plugin")
    }


def test_only_the_command_line_imports_actors_from_medray():
    importers = {
        unit_of(module)
        for module, names in all_imports().items()
        if module.startswith("medray") and any(n.split(".")[0] == "actors" for n in names)
    }
    assert importers == {"medray.cli"}


def test_every_folder_is_a_package():
    """A folder without __init__.py is missing from a wheel."""
    folders = {path.parent for path in MODULES.values()}
    assert [str(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


@pytest.mark.slow
def test_importing_medray_imports_no_engine():
    names = sorted(m for m in MODULES if m.startswith("medray"))
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = {ENGINES!r} & set(sys.modules)\n"
        "    assert not found, (name, found)\n"
        "print(len([m for m in sys.modules if m.startswith('medray')]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len(names)


def test_the_command_line_starts_light():
    code = (
        "import sys, medray.cli; print([m for m in ('torch','transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
