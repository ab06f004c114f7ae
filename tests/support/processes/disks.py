"""A small file system of a test's own, and how it is full for a while."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=150m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a block is left on it, until the end of the `with`."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    try:
        yield
    finally:
        filler.unlink()


def flip_a_bit(file: Path, place: int) -> None:
    """Of the byte at `place`."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
