"""Digests of image files, remembered: a file that has not changed is read once.

The bytes of every image are read at the first start, which takes an hour for some collections,
and never again while path, size, times and inode stay as they are. What is remembered holds no
path, only digests: paths are often named after patients.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medray.files import file_identity, replacing
from medray.imaging.load import file_sha256
from medray.imaging.reference import parse_reference

NAME = ".image-digests"
HEADER = b"medray image digests 1\n"
KEY, DIGEST = 16, 32  # bytes
MOST = 2_000_000  # images remembered; files of other datasets are forgotten first
THREADS = 8  # reading waits for the disk, and hashing leaves Python's lock


class Digests:
    """sha256 of images by path or reference, in hexadecimal."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known = {} if file is None else _read(file)
        self._used: dict[bytes, bytes] = {}
        self._new = False

    @classmethod
    def kept_in(cls, folder: Path) -> Digests:
        """Those remembered in a folder; nothing is written there before `keep`."""
        return cls(folder / NAME)

    def keep(self) -> None:
        """Remember them, if there are new ones and the folder can be written."""
        if self._file is not None and self._new:
            with contextlib.suppress(OSError):
                self._write(self._file)

    def of(self, images: Collection[str]) -> dict[str, str]:
        """The digest of each image; "" of one that cannot be read."""
        keys = {image: _key(image) for image in images}
        unknown = [image for image, key in keys.items() if key is None or key not in self._known]
        with ThreadPoolExecutor(THREADS) as threads:
            found = dict(zip(unknown, threads.map(file_sha256, unknown), strict=True))
        for image, key in keys.items():
            if key is None:
                continue
            if digest := found.get(image):
                # One that was replaced while it was being read is read again at the next start.
                if _key(image) == key:
                    self._known[key], self._new = bytes.fromhex(digest), True
            elif key in self._known:
                found[image] = self._known[key].hex()
            if key in self._known:
                self._used[key] = self._known[key]
        return found

    def _write(self, file: Path) -> None:
        others = [key for key in self._known if key not in self._used]
        spare = max(0, MOST - len(self._used))
        kept = {key: self._known[key] for key in others[len(others) - min(spare, len(others)) :]}
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, several_writers=True) as temporary:
            pairs = {**kept, **self._used}.items()
            temporary.write_bytes(HEADER + b"".join(key + digest for key, digest in pairs))


def _key(image: str) -> bytes | None:
    """What changes if the file does; None if there is no such file."""
    try:
        identity = file_identity(parse_reference(image).file)
        path = os.path.abspath(image)
    except (OSError, ValueError):
        return None
    text = f"{path}\0{identity}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=KEY).digest()


def _read(file: Path) -> dict[bytes, bytes]:
    """What is remembered; nothing if the file is not one of ours, or was cut short."""
    size = KEY + DIGEST
    try:
        content = file.read_bytes()
    except OSError:
        return {}
    rows = content[len(HEADER) :]
    if not content.startswith(HEADER) or len(rows) % size:
        return {}
    starts = range(0, len(rows), size)
    return {rows[i : i + KEY]: rows[i + KEY : i + size] for i in starts}
