"""The definitions that ship with medray, against KubeRay's own, and how manifests are read."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
import yaml

from medray.errors import UserError
from medray.manifest.definitions import checker_of, strict, trim
from medray.manifest.documents import read_documents
from medray.manifest.pods import amount_of


@pytest.mark.data
@pytest.mark.parametrize("kind", ["RayJob", "RayCluster"])
def test_what_ships_is_kuberays_definition(shared_data: Path, kind: str) -> None:
    text = (shared_data.parent / f"kuberay/ray.io_{kind.lower()}s.yaml").read_text()
    crd = trim(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    shipped = json.loads((resources.files("medray.manifest") / "kuberay.json").read_text())
    if kind == "RayJob":
        assert shipped == crd
        return
    # A RayCluster is a part of a RayJob: the same fields, with references of other names.
    own = crd["properties"]["spec"]["properties"]
    part = shipped["properties"]["spec"]["properties"]["rayClusterSpec"]["properties"]
    assert own.keys() == part.keys()


def test_an_unknown_keyword_is_not_ignored() -> None:
    with pytest.raises(AssertionError, match="not understood"):
        strict({"type": "string", "maxWords": 3})


def test_a_kind_without_a_definition_is_not_checked() -> None:
    assert checker_of("PodMonitor") is None


@pytest.mark.parametrize(
    ("text", "amount"),
    [("500m", 0.5), ("8Gi", 2.0**33), (4, 4.0), ("1e3", 1000.0), ("2k", 2000.0), ("1.5", 1.5)],
)
def test_quantities(text: str, amount: float) -> None:
    assert amount_of(text) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "8 GB", "Gi", "1e", "--4", "4.4.4"])
def test_what_is_no_quantity_is_no_number(text: str) -> None:
    assert amount_of(text) != amount_of(text)


def write(folder: Path, text: str, name: str = "kustomization.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_a_kustomization_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "base", "resources: [a.yaml]")
    write(tmp_path / "base", "{kind: A, metadata: {name: a}}", "a.yaml")
    top = write(tmp_path / "top", "{resources: [../base, b.yaml], namespace: x}")
    write(top, "kind: B\n---\nkind: List\nitems: [{kind: C}]\n", "b.yaml")
    assert [(d.kind, d.name) for d in read_documents(str(top))] == [
        ("A", "a"),
        ("B", ""),
        ("C", ""),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("patches: [{path: x.yaml}]", "patches changes objects"),
        ("resources: [missing.yaml]", "no such file"),
        ("resources: [.]", "names a folder that names it"),
        ("a: [", "not valid YAML"),
        ("{resources: [a], resources: [b]}", "resources is given twice in one mapping, in line 1"),
        ("[1, 2]", "holds a document that is no object"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        read_documents(str(write(tmp_path / "x", text)))


def test_a_folder_without_a_kustomization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no kustomization\.yaml"):
        read_documents(str(tmp_path))
