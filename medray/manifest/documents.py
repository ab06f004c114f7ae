"""The objects of a manifest: of a file, of standard input, or of a folder of a kustomization."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medray.config import YAML_ERRORS, UniqueKeyLoader
from medray.errors import UserError
from medray.files import read_file

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# What changes nothing that is checked here. Other fields change objects: render them first.
HARMLESS = (
    *("apiVersion", "kind", "resources", "namespace", "labels", "images", "metadata"),
    *("configMapGenerator", "secretGenerator", "generatorOptions", "commonAnnotations"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """One object, and the file it is from."""

    file: str
    tree: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.tree.get("kind"))

    @property
    def name(self) -> str:
        return self._metadata("name")

    @property
    def namespace(self) -> str:
        return self._metadata("namespace")

    def _metadata(self, field: str) -> str:
        metadata = self.tree.get("metadata")
        return str(metadata.get(field, "")) if isinstance(metadata, dict) else ""

    @property
    def label(self) -> str:
        return f"{self.file}: {self.kind} {self.name}".rstrip()


def read_documents(path: str) -> list[Document]:
    """All objects, those that kustomizations name included; "-" is standard input.

    Raises UserError for what is not YAML, not an object, or needs to be rendered first.
    """
    if path == "-":
        return list(_documents("standard input", sys.stdin.read()))
    place = Path(path)
    return list(_of_folder(place, ()) if place.is_dir() else _of_file(place))


def _of_folder(folder: Path, above: tuple[Path, ...]) -> Iterator[Document]:
    found = [folder / name for name in KUSTOMIZATIONS if (folder / name).is_file()]
    if not found:
        raise UserError(str(folder), "has no kustomization.yaml", "give it, or a file")
    if folder.resolve() in above:
        raise UserError(str(found[0]), "names a folder that names it", "break the circle")
    (tree,) = _trees(str(found[0]), found[0].read_text(encoding="utf-8")) or ({},)
    if changing := sorted(tree.keys() - {*HARMLESS}):
        raise UserError(
            str(found[0]),
            f"{', '.join(changing)} changes objects, which is not done here",
            f"render it: kubectl kustomize {folder} | medray check CONFIG --manifest -",
        )
    for name in tree.get("resources", ()):
        place = folder / str(name)
        if place.is_dir():
            yield from _of_folder(place, (*above, folder.resolve()))
        else:
            yield from _of_file(place)


def _of_file(path: Path) -> Iterator[Document]:
    try:
        text = read_file(path)
    except FileNotFoundError:
        raise UserError(str(path), "no such file", "give a manifest, or its folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"cannot be read ({error})", "give a YAML file") from None
    yield from _documents(str(path), text)


def _documents(file: str, text: str) -> Iterator[Document]:
    for tree in _trees(file, text):
        if tree.get("kind") == "List":
            items = tree.get("items") or ()
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise UserError(file, "holds a List of what is no object", "list objects")
            yield from (Document(file, item) for item in items)
        else:
            yield Document(file, tree)


def _trees(file: str, text: str) -> list[dict[str, Any]]:
    try:
        trees = [tree for tree in yaml.load_all(text, UniqueKeyLoader) if tree is not None]
    except YAML_ERRORS as error:
        problem = " ".join(str(error).split())
        raise UserError(file, f"not valid YAML: {problem}", "fix that line") from None
    for tree in trees:
        if not isinstance(tree, dict) or not isinstance(tree.get("kind", ""), str):
            raise UserError(file, "holds a document that is no object", "write apiVersion and kind")
    return trees
