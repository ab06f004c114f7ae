"""Another project's package `actors` where medray's should be: one line, exit code 2."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

COMMANDS = (
    ("launch", "configs/quickstart.yaml"),
    ("eval", "configs/quickstart.yaml", "--checkpoint", "nowhere"),
    ("export", "runs/none", "-o", "out"),
    ("bench", "loop"),
    ("bench", "sync"),
)


@pytest.fixture
def installed(tmp_path) -> Path:
    """medray as a wheel would leave it, where a test may spoil it."""
    site = tmp_path / "site"
    for package in ("medray", "actors"):
        ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / package, site / package, ignore=ignore)
    return site


def run(code: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refusal(site: Path, cwd: Path, *arguments: str) -> str:
    """The line on stderr."""
    code = f"import sys; sys.path.insert(1, {str(site)!r}); from medray.cli import main; main()"
    done = run(code, cwd, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("medray: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_beside_the_command(installed, tmp_path, command):
    here = tmp_path / "here"
    (here / "actors").mkdir(parents=True)
    (here / "actors/__init__.py").write_text("raise SystemExit('this must not run')\n")
    line = refusal(installed, here, *command)
    assert str(here / "actors") in line
    assert "another folder" in line


def test_a_folder_that_is_no_package(installed, tmp_path):
    """It loses against a package, unless medray is found in another way (an editable install)."""
    here = tmp_path / "here"
    (here / "actors").mkdir(parents=True)
    code = f"""
import sys, importlib.util as u, importlib.machinery as m
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("medray", "actors"):
            init = {str(installed)!r} + f"/{{name}}/__init__.py"
            folder = [init.removesuffix("/__init__.py")]
            return u.spec_from_file_location(name, init, submodule_search_locations=folder)
sys.meta_path.append(Finder())
sys.path[:] = [p for p in sys.path if not p or "site-packages" in p or "/lib/" in p]
from medray.cli import main; main()
"""
    done = run(code, here, *COMMANDS[0])
    assert done.returncode == 2, done.stderr
    assert str(here / "actors") in done.stderr


def test_a_single_module_beside_the_command(installed, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "actors.py").write_text("")
    assert "actors.py" in refusal(installed, here, *COMMANDS[0])


def test_another_package_installed_over_ours(installed, tmp_path):
    """pip lets it: its files take the place of ours of the same name."""
    (installed / "actors/__init__.py").write_text("from actors.internal import Actor\n")
    line = refusal(installed, tmp_path, *COMMANDS[0])
    assert str(installed / "actors") in line
    assert "install medray again" in line


@pytest.mark.parametrize("left", [True, False])
def test_ours_is_gone(installed, tmp_path, left):
    """As after `pip uninstall` of the other package."""
    (installed / "actors/__init__.py").unlink()
    if not left:
        shutil.rmtree(installed / "actors")
    assert "install medray again" in refusal(installed, tmp_path, *COMMANDS[0])
