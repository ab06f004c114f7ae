"""Limits that keep the code easy to navigate: files per folder, lines per file and function."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.support.paths import ROOT

CODE = [path for package in ("medray", "actors") for path in (ROOT / package).rglob("*.py")]
FILES = [*CODE, *(ROOT / "tests").rglob("*.py")]


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def functions(path: Path) -> list[tuple[str, int]]:
    """(name, lines) of every function, its decorators not counted."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))
    return [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes]


def test_a_folder_holds_at_most_twelve_files():
    assert {k: n for k, n in Counter(path.parent for path in FILES).items() if n > 12} == {}


def test_a_file_has_at_most_400_lines():
    assert {path: lines(path) for path in FILES if lines(path) > 400} == {}


def test_a_function_has_at_most_60_lines():
    long = [(path, name, n) for path in FILES for name, n in functions(path) if n > 60]
    assert long == []


def test_the_driver_can_be_read_at_one_sitting():
    assert lines(ROOT / "actors" / "loop" / "driver.py") <= 150


def test_every_package_has_a_docstring():
    without_docstring = [
        p
        for p in CODE
        if p.name == "__init__.py" and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert without_docstring == []


def test_every_module_has_a_docstring():
    assert [path for path in CODE if not ast.get_docstring(ast.parse(path.read_text()))] == []
