"""What files a checkpoint consists of: size and digest of each, as fast as they can be read.

A file's digest is that of the digests of its pieces, xxh3 of 128 bits each, so that all threads
work on a large file. It finds damage; it is no proof against somebody who means harm.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xxhash

from actors.weights.manifest import CHECKSUM_THREADS
from medray.files import open_file, sha256_of

PIECE = 64 * 2**20  # bytes
_BLOCK = 4 * 2**20  # bytes that a thread holds


def take_inventory(folder: Path, *, without: str) -> dict[str, dict[str, object]]:
    """Size and digest of all files in `folder`, by their names, except one. Raises OSError."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != without)
    found = {}
    for path, digest in zip(paths, _digests(paths), strict=True):
        if isinstance(digest, OSError):
            raise digest
        found[str(path.relative_to(folder))] = {"size": path.stat().st_size, "xxh3": digest}
    return found


def find_difference(folder: Path, inventory: Mapping[str, Any]) -> str | None:
    """Which file is not as the inventory says, and why; None if all are. Sizes come first."""
    names = sorted(inventory)
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return f"the manifest lists {name}"
    try:
        for name in names:
            if (folder / name).stat().st_size != inventory[name]["size"]:
                return f"{name} differs from the manifest"
    except OSError as error:
        return f"{name}: {error.strerror or error}"
    except (TypeError, KeyError):
        return f"the manifest has no size of {name}"
    older = [name for name in names if "sha256" in inventory[name]]  # of an earlier medray
    newer = [name for name in names if name not in older]
    found = dict(zip(newer, _digests([folder / name for name in newer]), strict=True))
    found |= {name: _sha256(folder / name) for name in older}
    for name in names:
        digest, entry = found[name], inventory[name]
        if isinstance(digest, OSError):
            return f"{name}: {digest.strerror or digest}"
        if digest != entry.get("xxh3", entry.get("sha256")):
            return f"{name} differs from the manifest"
    return None


def _digests(paths: Sequence[Path]) -> list[str | OSError]:
    """The hexadecimal digest of each file, or why it cannot be read."""
    threads = min(CHECKSUM_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        files = [
            [
                pool.submit(_digest_of_piece, path, start)
                for start in range(0, max(1, path.stat().st_size), PIECE)
            ]
            for path in paths
        ]
        return [_joined(pieces) for pieces in files]


def _joined(pieces: Sequence[Future[bytes]]) -> str | OSError:
    try:
        return xxhash.xxh3_128_hexdigest(b"".join(piece.result() for piece in pieces))
    except OSError as error:
        return error


def _digest_of_piece(path: Path, start: int) -> bytes:
    digest, block = xxhash.xxh3_128(), bytearray(_BLOCK)
    with open_file(path) as file:
        for offset in range(start, start + PIECE, _BLOCK):
            length = os.preadv(file.fileno(), [block], offset)
            digest.update(memoryview(block)[:length])
            if length < _BLOCK:
                break
    return digest.digest()


def _sha256(path: Path) -> str | OSError:
    try:
        return sha256_of(path)
    except OSError as error:
        return error
