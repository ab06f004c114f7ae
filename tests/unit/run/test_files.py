"""Writes are atomic, also with leftover files, links and two writers."""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from medray.errors import DataError
from medray.files import (
    folder_digest,
    is_taken,
    new_folder,
    output_file,
    replacing,
    sha256_of,
    write_text,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def interrupt(draft: AbstractContextManager[Path]) -> None:
    """Write part of a file or a folder, then fail."""
    with draft as path:
        (path / "a" if path.is_dir() else path).write_text("half")
        raise KeyError


@pytest.mark.parametrize("several_writers", [False, True])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, several_writers):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyError):
        interrupt(replacing(path, several_writers=several_writers))
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a"}


def test_two_writers_do_not_interfere(tmp_path):
    path = tmp_path / "a"
    with (
        replacing(path, several_writers=True) as first,
        replacing(path, several_writers=True) as second,
    ):
        first.write_text("one")
        second.write_text("two")
    assert path.read_text() == "one", "the writer that ended last wins"
    assert names(tmp_path) == {"a"}


def test_leftovers_of_a_killed_writer_are_overwritten_and_links_are_not_followed(tmp_path):
    (tmp_path / ".a.tmp").symlink_to(tmp_path / "elsewhere")
    write_text(tmp_path / "a", "new")
    assert names(tmp_path) == {"a"}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_umask_decides_who_may_read(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_text_that_utf8_cannot_encode_is_replaced(tmp_path):
    write_text(tmp_path / "a", "x\ud800é")
    assert (tmp_path / "a").read_bytes() == "x?é".encode()


def test_an_unwritable_output_file_is_refused(tmp_path):
    for path, why in ((tmp_path, "is a folder"), (tmp_path / "no/a", "cannot be written")):
        with pytest.raises(DataError, match=why), output_file(path):
            pass


def test_a_new_folder_is_complete_or_absent(tmp_path):
    out = tmp_path / "deep/out"
    with pytest.raises(KeyError):
        interrupt(new_folder(out))
    assert not list((tmp_path / "deep").iterdir())
    with new_folder(out) as draft:
        (draft / "a").write_text("x")
        assert not out.exists()
    assert names(out) == {"a"}
    assert is_taken(out)
    assert not is_taken(tmp_path / "none")


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_weights_of_the_same_size_have_another_digest(tmp_path: Path) -> None:
    """As a model that was trained further: only values differ, here the very last one."""
    digests = set()
    for last in (b"a", b"b"):
        folder = tmp_path / last.decode()
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(3 * 2**20) + last)
        digests.add(folder_digest(folder))
    assert len(digests) == 2
