"""Another project's package `actors` in place of medray's: one line, exit code 2."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

COMMANDS = (
    ("launch", "configs/quickstart.yaml"),
    ("eval", "configs/quickstart.yaml", "--checkpoint", "nowhere"),
    ("export", "runs/none", "-o", "out"),
    ("bench", "loop"),
    ("bench", "sync"),
)


@pytest.fixture
def installed(tmp_path) -> Path:
    """medray as a wheel installs it, in a copy that a test may damage."""
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
def test_a_package_in_the_working_directory_is_refused(installed, tmp_path, command):
    workdir = tmp_path / "workdir"
    (workdir / "actors").mkdir(parents=True)
    (workdir / "actors/__init__.py").write_text("raise SystemExit('this must not run')\n")
    line = refusal(installed, workdir, *command)
    assert str(workdir / "actors") in line
    assert "another folder" in line


def test_a_folder_without_init_is_refused_if_it_shadows_ours(installed, tmp_path):
    """It loses to a package, unless medray is found by a finder (an editable install)."""
    workdir = tmp_path / "workdir"
    (workdir / "actors").mkdir(parents=True)
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
    done = run(code, workdir, *COMMANDS[0])
    assert done.returncode == 2, done.stderr
    assert str(workdir / "actors") in done.stderr


def test_a_module_in_the_working_directory_is_refused(installed, tmp_path):
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    (workdir / "actors.py").write_text("")
    assert "actors.py" in refusal(installed, workdir, *COMMANDS[0])


def test_another_package_installed_over_ours_is_refused(installed, tmp_path):
    """pip allows it: its files replace ours of the same name."""
    (installed / "actors/__init__.py").write_text("from actors.internal import Actor\n")
    line = refusal(installed, tmp_path, *COMMANDS[0])
    assert str(installed / "actors") in line
    assert "install medray again" in line


@pytest.mark.parametrize("folder_remains", [True, False])
def test_a_missing_package_is_reported(installed, tmp_path, folder_remains):
    """As after `pip uninstall` of the other package."""
    (installed / "actors/__init__.py").unlink()
    if not folder_remains:
        shutil.rmtree(installed / "actors")
    assert "install medray again" in refusal(installed, tmp_path, *COMMANDS[0])
