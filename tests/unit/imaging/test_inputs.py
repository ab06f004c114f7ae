"""Files that are no image, and masks however they were saved."""

from __future__ import annotations

import os
import socket
import time

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medray.errors import ItemError
from medray.imaging.load import file_sha256, image_size, load_image
from medray.imaging.regions import read_mask

YY, XX = np.mgrid[:64, :80]
LESION = (YY - 30) ** 2 + (XX - 40) ** 2 < 15**2
NIFTI = bytes(344) + b"n+1\0"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("a.png", b"/annex/objects/SHA256E-s3--0.png\n", "git-annex"),
        ("a.jpg", b"\n<!DOCTYPE html><html>404", "an HTML page"),
        ("a.jpg", b"<?xml version='1.0'?><Error/>", "XML"),
        ("a.jpg", b'{"error": "quota"}', "JSON"),
        ("a.png", "é nicht gefunden".encode(), "text"),
        ("a.png", bytes(4000), "only zeros"),
        ("scan.nii", NIFTI, "a NIfTI volume"),
        ("scan.nii.gz", b"\x1f\x8b\x08\0\0", "a NIfTI volume"),
        ("a.gz", b"\x1f\x8b\x08\0\0", "gzip"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ("a.j2k", b"\xff\x4f\xff\x51\0", "JPEG 2000"),
        ("a.zip", b"PK\x03\x04", "a ZIP archive"),
        ("a.tar", bytes(257).replace(b"\0", b"a") + b"ustar\0", "a tar archive"),
        ("a.pdf", b"%PDF-1.7", "a PDF"),
        ("a.heic", b"\0\0\0\x18ftypheic", "HEIC"),
        ("a.nrrd", b"NRRD0004\n", "an NRRD volume"),
        ("a.svg", b"<svg xmlns='x'/>", "an SVG drawing"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, content, kind):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (load_image, image_size):
        with pytest.raises(ItemError) as caught:
            read(path)
        assert caught.value.reason == "image-unreadable"
        assert kind in caught.value.what
        assert str(tmp_path) not in caught.value.what


def special_files(folder):
    os.mkfifo(folder / "fifo.png")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "s.png"))
    server.close()
    (folder / "dir.png").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "pipe.png").symlink_to("fifo.png")
    return [folder / n for n in ("fifo.png", "s.png", "dir.png", "loop.png", "pipe.png")] + [
        "/dev/zero",
        "/dev/random",
        "/dev/tty",
    ]


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    start = time.monotonic()
    for path in special_files(tmp_path):
        with pytest.raises(ItemError) as caught:
            load_image(path)
        assert caught.value.reason in ("image-unreadable", "image-missing")
        assert file_sha256(path) == ""
        with pytest.raises(ItemError, match=r"file|opened"):
            read_mask(path, 64, 80)
    assert time.monotonic() - start < 60  # it would wait for ever


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(2**40)  # a hole
    start = time.monotonic()
    assert file_sha256(path) == ""
    with pytest.raises(ItemError, match="more than 2 GiB"):
        load_image(path)
    assert time.monotonic() - start < 60  # reading a terabyte takes longer


def test_the_size_is_that_of_the_loaded_image(tmp_path):
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert image_size(tmp_path / "a.jpg") == load_image(tmp_path / "a.jpg").shape[:2] == (30, 20)


def test_floating_point_pixels(tmp_path):
    values = np.array([[np.nan, 0, 0.5, 1, np.inf, -np.inf]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert load_image(tmp_path / "a.tiff")[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


# --- masks --------------------------------------------------------------------------------


def marked(tmp_path, image, name="m.png", **options):
    image.save(tmp_path / name, **options)
    return read_mask(tmp_path / name, *LESION.shape)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_lossy_masks_mark_what_was_drawn(tmp_path, quality):
    drawn = Image.fromarray(LESION.astype(np.uint8) * 255)
    found = marked(tmp_path, drawn, "m.jpg", quality=quality)
    assert (found ^ LESION).sum() <= 0.02 * LESION.sum()


def test_grey_masks_are_cut_at_half(tmp_path):
    soft = gaussian_filter(LESION.astype(float), 2) * 255
    found = marked(tmp_path, Image.fromarray(np.rint(soft).astype(np.uint8)))
    assert abs(int(found.sum()) - int(LESION.sum())) <= 0.03 * LESION.sum()
    colours = Image.fromarray(np.rint(soft).astype(np.uint8)).convert("RGB")
    assert np.array_equal(marked(tmp_path, colours), found)


def test_masks_of_labels_mark_every_label(tmp_path):
    labels = np.where(LESION, 3, 0).astype(np.uint8)
    labels[:5, :5] = 1
    assert np.array_equal(marked(tmp_path, Image.fromarray(labels)), labels > 0)


def test_indexed_masks_mark_what_is_not_the_background(tmp_path):
    for background, lesion in ((0, 1), (1, 0)):
        indexed = Image.fromarray(np.where(LESION, lesion, background).astype(np.uint8))
        indexed.putpalette([0, 0, 0, 255, 0, 0] if background == 0 else [255, 0, 0, 0, 0, 0])
        assert np.array_equal(marked(tmp_path, indexed), LESION)


def test_masks_of_transparency_alone(tmp_path):
    for colour in (0, 255):
        layers = np.full((*LESION.shape, 4), colour, np.uint8)
        layers[:, :, 3] = LESION * 255
        assert np.array_equal(marked(tmp_path, Image.fromarray(layers)), LESION)


def test_transparent_pixels_are_not_marked(tmp_path):
    layers = np.zeros((*LESION.shape, 4), np.uint8)
    layers[LESION] = (255, 0, 0, 255)
    layers[:5, :5] = (255, 255, 255, 0)
    assert np.array_equal(marked(tmp_path, Image.fromarray(layers)), LESION)
