"""Image files are read once, as long as they do not change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from medray.config import load_config
from medray.errors import ConfigError
from medray.imaging import digests
from medray.imaging.digests import HEADER, NAME, Digests
from medray.plan import make_plan


@pytest.fixture
def images(tmp_path) -> list[str]:
    folder = tmp_path / "JOHN SMITH"
    folder.mkdir()
    paths = [folder / f"{n}.png" for n in range(40)]
    for n, path in enumerate(paths):
        path.write_bytes(b"%d" % n * 5000)
    return [str(path) for path in paths]


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The images whose bytes were read."""
    paths: list[str] = []
    plain = digests.file_sha256
    monkeypatch.setattr(digests, "file_sha256", lambda path: paths.append(path) or plain(path))
    return paths


def digests_of(folder: Path, images: list[str]) -> dict[str, str]:
    digests = Digests.kept_in(folder)
    found = digests.of(images)
    digests.keep()
    return found


def expected(images: list[str]) -> dict[str, str]:
    return {image: hashlib.sha256(Path(image).read_bytes()).hexdigest() for image in images}


def test_unchanged_files_are_read_once(images, read, tmp_path):
    runs = tmp_path / "runs"
    assert digests_of(runs, images) == expected(images)
    assert sorted(read) == sorted(images)
    assert digests_of(runs, images) == expected(images)
    assert len(read) == len(images)


def test_the_file_names_nobody(images, tmp_path):
    digests_of(tmp_path / "runs", images)
    content = (tmp_path / "runs" / NAME).read_bytes()
    assert len(content) == len(HEADER) + 48 * len(images)
    assert b"SMITH" not in content
    assert b"png" not in content


def written_to(path: Path) -> None:
    """As many bytes, and the time of change put back."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[::-1].replace(b"3", b"4"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"3", b"4"))
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(other, path)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [written_to, replaced, touched])
def test_a_changed_file_is_read_again(change, images, read, tmp_path):
    digests_of(tmp_path, images)
    read.clear()
    change(Path(images[3]))
    assert digests_of(tmp_path, images) == expected(images)
    assert read == [images[3]]


def test_what_cannot_be_read_has_no_digest_and_is_tried_again(images, read, tmp_path):
    gone, folder, odd = str(tmp_path / "gone.png"), str(tmp_path), "a\0b"
    for _ in range(2):
        assert digests_of(tmp_path, [gone, folder, odd]) == {gone: "", folder: "", odd: ""}
    assert len(read) == 6
    Path(gone).write_bytes(b"back")
    assert digests_of(tmp_path, [gone]) == expected([gone])


@pytest.mark.parametrize("content", [b"", b"x" * 100, HEADER + b"x" * 47, HEADER[:-1]])
def test_a_broken_file_is_written_anew(content, images, read, tmp_path):
    (tmp_path / NAME).write_bytes(content)
    assert digests_of(tmp_path, images) == expected(images)
    assert digests_of(tmp_path, images) == expected(images)
    assert len(read) == len(images)


def test_files_of_other_datasets_are_forgotten_first(images, read, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "MOST", 30)
    digests_of(tmp_path, images[:20])
    digests_of(tmp_path, images[20:])
    read.clear()
    digests_of(tmp_path, images[20:])
    assert not read
    digests_of(tmp_path, images[:20])
    assert sorted(read) == sorted(images[:10])


def test_without_a_folder_to_write_to_nothing_is_remembered(images, read):
    for _ in range(2):
        assert digests_of(Path("/proc/nowhere"), images) == expected(images)
    assert len(read) == 2 * len(images)


def test_a_second_start_reads_no_image(read, tmp_path, shared_data):
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data: {{kind: vqa-rad, path: {shared_data}/vqa_rad}}\nrun: {{output: {tmp_path}/runs}}\n"
        "corruption: {region: whole}\n"
    )
    first = make_plan(load_config(config)).dataset
    assert len(read) == 314
    assert make_plan(load_config(config)).dataset == first
    assert len(read) == 314


def test_what_is_refused_leaves_nothing(read, tmp_path, shared_data):
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data: {{kind: vqa-rad, path: {shared_data}/vqa_rad}}\nrun: {{output: {tmp_path}/runs}}\n"
        "corruption: {region: none}\n"
    )
    with pytest.raises(ConfigError, match="reads a corrupted image"):
        make_plan(load_config(config, ["objective={name: mdpo}"]))
    assert len(read) == 314
    assert not (tmp_path / "runs").exists()
