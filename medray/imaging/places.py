"""Where images are: folders that bound them, and how a file that leaves names them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from medray.errors import UserError
from medray.imaging.load import file_sha256
from medray.imaging.reference import Reference, parse_reference

STYLES = ("absolute", "relative", "hashed")
UNREADABLE = "unreadable"  # the name of an image without a digest
Named = Callable[[str], str]  # path → what a file that leaves has in its place


class Places:
    """Folders; links are followed before it is judged what is in them."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]]) -> None:
        self._folders = tuple({os.path.realpath(folder) for folder in folders})
        self._real = functools.lru_cache(maxsize=4096)(os.path.realpath)

    def hold(self, image: str) -> bool:
        """Whether the file of an image or a mask is in one of the folders. It need not exist."""
        folder, name = os.path.split(parse_reference(image).file)
        path = os.path.join(self._real(folder), name)
        if name in ("", ".", "..") or os.path.islink(path):
            path = os.path.realpath(path)
        return any(path == f or path.startswith(f.rstrip("/") + "/") for f in self._folders)


def named(style: str, folder: Path) -> Named:
    """How a file in `folder` names images: by their absolute path, relative to the folder, or by
    the digest of their bytes, which no path or name can be read from. Raises UserError."""
    if style not in STYLES:
        raise UserError(f"--paths {style}", "is not known", f"give {', '.join(STYLES)}")
    if style == "hashed":
        return functools.lru_cache(maxsize=1 << 16)(_hashed)
    if style == "relative":
        return lambda path: path and os.path.relpath(path, folder)
    return lambda path: path and os.path.abspath(path)


def _hashed(path: str) -> str:
    """The digest, with the suffix of the file and the part of it that is meant, if it is one."""
    if not path:
        return path
    reference = parse_reference(path)
    if reference.column:
        return file_sha256(path) or UNREADABLE
    digest = file_sha256(reference.file)
    if not digest:
        return UNREADABLE
    part = "" if reference == Reference(reference.file) else f"#{reference.part}"
    return digest + os.path.splitext(reference.file)[1].lower() + part
