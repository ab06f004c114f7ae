"""Whatever stands at a place of a manifest, the check ends with lines, never with a traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from medray.errors import UserError
from medray.manifest import check as room
from medray.manifest.documents import Document, read_documents
from tests.support.paths import ROOT
from tests.unit.cluster.manifests import check, objects

ODD: tuple[Any, ...] = (None, [], {}, "", "x", -1, 10**12, True, [None], {"x": None}, ...)
EVERY = 17  # of the odd things at each place, so many apart: all of them take a minute


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if above:
        yield above
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            yield from places(child, (*above, key))


def with_odd(tree: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(tree)
    node: Any = changed
    for step in place[:-1]:
        node = node[step]
    if value is ...:
        del node[place[-1]]
    else:
        node[place[-1]] = copy.deepcopy(value)
    return changed


@pytest.mark.parametrize("use", ["smoke", "gpu-groups"])
def test_anything_anywhere_gives_lines(monkeypatch, use):
    trees = objects(use)
    others = [Document("x", tree) for kind, tree in trees.items() if kind != "RayJob"]
    cases = [(place, value) for place in places(trees["RayJob"]) for value in ODD]
    assert len(cases) > 1000
    for place, value in cases[::EVERY]:
        document = Document("x", with_odd(trees["RayJob"], place, value))
        monkeypatch.setattr(room, "read_documents", lambda path, d=document: [d, *others])
        checked = check("x", use)
        assert all("\n" not in str(mistake) for mistake in checked.mistakes), (place, value)
        checked.lines()


def test_an_alias_that_refers_to_itself_is_refused(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("kind: RayJob\nmetadata: {name: a}\nspec: &s {rayClusterSpec: *s}\n")
    with pytest.raises(UserError, match="an alias refers to itself, in line 3"):
        check(file, "smoke")


def test_each_object_of_a_list_is_checked(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("kind: List\nitems: [{kind: RayJob, metadata: {name: a}}]\n")
    assert len(read_documents(str(file))) == 1
    assert str(check(file, "smoke").mistakes[0]).endswith("apiVersion: is missing — add it")


def test_the_manifests_that_ship_are_read_whole():
    assert len(read_documents(str(ROOT / "cluster/gpu-groups"))) == 5
