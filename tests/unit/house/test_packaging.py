"""What a wheel declares and contains."""

from __future__ import annotations

import re
import sys
import tomllib

from tests.support.paths import ROOT
from tests.unit.house.test_import_rules import all_imports

# Import names that differ from the names of their distributions.
DISTRIBUTIONS = {"grpc": "grpcio", "PIL": "pillow", "skimage": "scikit-image", "yaml": "pyyaml"}
EXTRAS = {
    "vllm": "gpu",
    "trl": "bench",
    "datasets": "bench",
    "wandb": "wandb",
    "mlflow": "mlflow",
}  # not needed by every installation
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    """`ray[default]==2.60.0` → `ray`."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def imported() -> set[str]:
    """Top-level names of all imports that are neither Python's nor ours."""
    names = {name.split(".")[0] for names in all_imports().values() for name in names}
    return names - set(sys.stdlib_module_names) - {"medray", "actors"}


def test_every_import_is_declared():
    needed = {DISTRIBUTIONS.get(n, n).lower().replace("_", "-") for n in imported() - EXTRAS.keys()}
    declared = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    assert needed <= declared
    # vLLM's image processors need the torchvision that fits torch
    assert declared - needed == {"torchvision"}


def test_an_import_of_an_extra_is_declared_there():
    extras = PROJECT["optional-dependencies"]
    assert EXTRAS.keys() <= imported()
    assert "vllm" in {name_of(requirement) for requirement in extras["gpu"]}
    assert "trl" in {name_of(requirement) for requirement in extras["bench"]}  # brings datasets


def test_what_is_declared_is_what_is_locked():
    lines = (ROOT / "requirements/base.in").read_text().splitlines()
    locked = {name_of(line) for line in lines}
    declared = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    dev = {name_of(requirement) for requirement in PROJECT["optional-dependencies"]["dev"]}
    # safetensors and the like may come with another package; asked for by name all the same
    assert declared | dev == locked


def test_locks_have_hashes_and_no_address():
    for stack in ("cpu", "gpu", "uv", "trackers", "docs"):
        text = (ROOT / f"requirements/{stack}.txt").read_text()
        assert "://" not in text
        pins = re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)
        entries = re.split(r"^(?=[a-z0-9._-]+==)", text, flags=re.MULTILINE)[1:]
        assert len(pins) == len(entries) > 0
        assert [e.split("\n")[0] for e in entries if "--hash=sha256:" not in e] == []
