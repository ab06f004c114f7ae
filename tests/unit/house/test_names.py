"""Names that do not explain themselves are not used."""

from __future__ import annotations

import ast

from tests.support.paths import ROOT

AVOID = {"said", "told", "asked", "came", "held", "whole"}


def names_in(tree: ast.AST) -> set[str]:
    """Variables, parameters, attributes, functions and classes."""
    found = set()
    for node in ast.walk(tree):
        found |= {getattr(node, field, None) for field in ("id", "arg", "attr", "name")}
    return {name for name in found if isinstance(name, str)}


def test_names_explain_themselves():
    files = [path for room in ("medray", "actors", "tests") for path in (ROOT / room).rglob("*.py")]
    odd = {path: names_in(ast.parse(path.read_text())) & AVOID for path in files}
    assert {path: names for path, names in odd.items() if names} == {}
