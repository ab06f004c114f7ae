"""Imports run one way, and only three files know ray, vllm and deepspeed.

records ← objectives, editing, imaging, data ← policy ← evaluation, phantom, report ← actors
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("medray", "actors")
    for path in sorted((ROOT / package).rglob("*.py"))
}
ENGINES = {"ray", "vllm", "deepspeed"}

# What each part may import, beside itself. A part that is not listed fails the test.
BASE = {"medray.errors", "medray.records", "medray.config"}
LAYERS: dict[str, set[str]] = {
    "medray": set(),
    "medray.errors": set(),
    "medray.records": set(),
    "medray.config": {"medray.errors"},
    "medray.rundir": BASE,
    "medray.ledger": BASE | {"medray.rundir"},
    "medray.objectives": BASE,
    "medray.editing": BASE,
    "medray.imaging": BASE,
    "medray.data": BASE | {"medray.imaging"},
    "medray.policy": BASE | {"medray.objectives", "medray.editing"},
    "medray.targeting": BASE | {"medray.editing", "medray.imaging", "medray.data"},
    "medray.bench": BASE
    | {"medray.objectives", "medray.policy", "medray.editing", "medray.imaging"},
    "medray.evaluation": BASE | {"medray.editing", "medray.policy", "medray.data"},
    "medray.phantom": BASE | {"medray.policy", "medray.data", "medray.imaging", "medray.editing"},
    "medray.report": BASE
    | {"medray.data", "medray.imaging", "medray.ledger", "medray.rundir", "medray.evaluation"},
}
WHOLE_METHOD = set(LAYERS) - {"medray"}
LAYERS["medray.plan"] = WHOLE_METHOD
LAYERS["medray.cli"] = WHOLE_METHOD | {"medray.plan", "actors.launch", "actors.release"}
LAYERS |= {
    "actors": set(),
    "actors.weights": WHOLE_METHOD,
    "actors.resources": WHOLE_METHOD,
    "actors.room": set(),
    "actors.telemetry": WHOLE_METHOD,
    "actors.checkpoint": WHOLE_METHOD | {"actors.weights"},
    "actors.release": WHOLE_METHOD | {"actors.checkpoint", "actors.weights"},
    "actors.transfer": WHOLE_METHOD | {"actors.weights"},
    "actors.vllm_patches": WHOLE_METHOD | {"actors.weights"},
    "actors.vllm_plugin": {"actors.vllm_patches"},
    "actors.engine": WHOLE_METHOD
    | {"actors.weights", "actors.transfer", "actors.vllm_patches", "actors.vllm_plugin"},
    "actors.generator": WHOLE_METHOD | {"actors.engine", "actors.weights", "actors.transfer"},
    "actors.editor": WHOLE_METHOD,
    "actors.learner_state": WHOLE_METHOD,
    "actors.learner": WHOLE_METHOD | {"actors.weights", "actors.learner_state"},
    "actors.calls": WHOLE_METHOD,
    "actors.faults": WHOLE_METHOD | {"actors.calls"},
    "actors.pool": WHOLE_METHOD | {"actors.calls", "actors.faults"},
    "actors.ranks": WHOLE_METHOD | {"actors.calls"},
    "actors.work": WHOLE_METHOD | {"actors.weights"},
    "actors.rollouts": WHOLE_METHOD | {f"actors.{n}" for n in ("calls", "pool", "work")},
    "actors.stop": WHOLE_METHOD,
}
LAYERS["actors.fleet"] = WHOLE_METHOD | {
    f"actors.{name}"
    for name in (
        *("generator", "editor", "learner", "weights", "resources", "work"),
        *("calls", "faults", "pool", "ranks", "rollouts", "room"),
    )
}
LAYERS["actors.ahead"] = (
    WHOLE_METHOD | {"medray.plan"} | {f"actors.{n}" for n in ("checkpoint", "fleet", "work")}
)
LAYERS["actors.journal"] = WHOLE_METHOD | {f"actors.{n}" for n in ("ahead", "fleet", "telemetry")}
LAYERS["actors.driver"] = (
    WHOLE_METHOD
    | {"medray.plan"}
    | {
        f"actors.{name}"
        for name in (
            *("fleet", "ranks", "work", "ahead", "journal", "stop", "checkpoint", "telemetry"),
        )
    }
)
LAYERS["actors.launch"] = (
    WHOLE_METHOD
    | {"medray.plan"}
    | {
        f"actors.{name}"
        for name in (
            *("driver", "fleet", "faults", "work", "weights"),
            *("checkpoint", "resources", "telemetry"),
        )
    }
)

LAYERS["actors.sleeper"] = BASE
LAYERS["actors.bench_loop"] = (
    WHOLE_METHOD
    | {"medray.plan"}
    | {
        f"actors.{n}"
        for n in ("faults", "fleet", "generator", "launch", "resources", "sleeper", "work")
    }
)
LAYERS["actors.bench_sync"] = WHOLE_METHOD | {
    f"actors.{n}" for n in ("generator", "resources", "transfer", "weights")
}
BENCHES = {"actors.bench_loop", "actors.bench_sync"}
LAYERS["medray.cli"] |= BENCHES


def imports_of(path: Path) -> set[str]:
    """Every module named in an import statement, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str:
    """`medray.data.jsonl` → `medray.data`."""
    return ".".join(module.split(".")[:2])


def test_the_reader_of_imports_reads_them(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("import a.b\ndef f():\n    from c import d\n")
    assert imports_of(file) == {"a.b", "c", "c.d"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    part = part_of(module)
    assert part in LAYERS, f"{part}: say in LAYERS what it may import"
    ours = {n for n in imports_of(MODULES[module]) if n.split(".")[0] in ("medray", "actors")}
    beyond = {part_of(n) for n in ours if part_of(n) in LAYERS} - {part, "medray", "actors"}
    beyond -= LAYERS[part]
    assert not beyond, f"{module} imports {sorted(beyond)}"


def test_the_table_has_no_cycle_and_no_part_that_is_gone():
    assert set(LAYERS) == {part_of(module) for module in MODULES}
    left = dict(LAYERS)
    while left:
        free = {part for part, needs in left.items() if not needs & set(left)}
        assert free, f"cycle among {sorted(left)}"
        left = {part: needs for part, needs in left.items() if part not in free}


@pytest.mark.parametrize(
    ("engine", "allowed"),
    [
        ("vllm", {"actors.engine", "actors.vllm_patches", "actors.generator"}),
        ("deepspeed", {"actors.learner"}),
    ],
)
def test_engines_are_known_where_they_are_used(engine, allowed):
    users = {m for m, p in MODULES.items() if engine in {n.split(".")[0] for n in imports_of(p)}}
    assert users == allowed


def test_only_actors_import_ray():
    users = {m for m, p in MODULES.items() if "ray" in {n.split(".")[0] for n in imports_of(p)}}
    assert users
    assert {m.split(".")[0] for m in users} == {"actors"}
    assert not users & {"actors.generator", "actors.editor", "actors.learner"}  # plain classes


def test_actors_never_import_each_other():
    kinds = {"actors.generator", "actors.editor", "actors.learner"}
    importers = {m for m, p in MODULES.items() if imports_of(p) & kinds}
    assert importers - BENCHES == {"actors.fleet"}
    assert kinds <= imports_of(MODULES["actors.fleet"])


def test_only_the_command_line_looks_up_from_the_method():
    lookers = {
        m: {n for n in imports_of(p) if n.split(".")[0] == "actors"}
        for m, p in MODULES.items()
        if m.startswith("medray")
    }
    assert {m for m, names in lookers.items() if names} == {"medray.cli"}
    looked_up = {part_of(name) for name in lookers["medray.cli"]}
    assert looked_up - BENCHES == {"actors.launch", "actors.release"}


def test_every_folder_is_a_package():
    """A folder without __init__.py is left out of a wheel."""
    folders = {path.parent for path in MODULES.values()}
    assert [str(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_importing_the_method_imports_no_engine():
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
