"""DICOM in the compressions that archives use: exact pixels, damage found, nothing unbounded."""

from __future__ import annotations

import resource
import struct
import sys
import time
import zlib

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from medray.errors import ItemError
from medray.imaging.load import file_sha256, image_size, load_image

RAMP = np.linspace(0, 4095, 48 * 32).reshape(32, 48).astype(np.uint16)
RGB = np.stack([RAMP // 16, 255 - RAMP // 16, RAMP // 32], axis=2).astype(np.uint8)
LOSSLESS = {
    "57": lambda v: imagecodecs.jpeg8_encode(v, lossless=True, predictor=2),
    "70": lambda v: imagecodecs.jpeg8_encode(v, lossless=True, predictor=1),
    "80": imagecodecs.jpegls_encode,
    "90": lambda v: imagecodecs.jpeg2k_encode(v, codecformat="J2K", reversible=True),
    "201": lambda v: imagecodecs.htj2k_encode(v, reversible=True),
}


def write(path, syntax, values, frames, **attributes):
    """A DICOM file of one or more encoded frames of values [H, W] or [H, W, 3]."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.BitsStored = 12 if values.dtype.itemsize == 2 else 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def scaled(values):
    """The values as shown without a window: by their own range."""
    low, high = values.min(), values.max()
    return np.rint((values.astype(float) - low) / (high - low) * 255).astype(np.uint8)


def reason_of(path) -> str:
    with pytest.raises(ItemError) as caught:
        load_image(path)
    assert str(path.parent) not in caught.value.what
    return caught.value.reason


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_grey(tmp_path, syntax):
    path = write(tmp_path / "a.dcm", syntax, RAMP, [LOSSLESS[syntax](RAMP)])
    assert np.array_equal(load_image(path)[:, :, 0], scaled(RAMP))
    assert image_size(path) == RAMP.shape


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_colour(tmp_path, syntax):
    encode = LOSSLESS[syntax]
    if syntax in ("57", "70"):  # the file states RGB, and so does the header
        predictor = 2 if syntax == "57" else 1
        colours = {"colorspace": "RGB", "outcolorspace": "RGB"}
        encoded = imagecodecs.jpeg8_encode(RGB, lossless=True, predictor=predictor, **colours)
    else:
        encoded = encode(RGB)
    path = write(tmp_path / "a.dcm", syntax, RGB, [encoded])
    assert np.array_equal(load_image(path), RGB)


@pytest.mark.parametrize("syntax", ["70", "80", "90"])
def test_each_frame_of_several(tmp_path, syntax):
    frames = [RAMP, RAMP[::-1]]
    path = write(tmp_path / "a.dcm", syntax, RAMP, map_list(LOSSLESS[syntax], frames))
    for number, values in enumerate(frames, 1):
        assert np.array_equal(load_image(f"{path}#{number}")[:, :, 0], scaled(values))


def map_list(function, values):
    return [function(np.ascontiguousarray(value)) for value in values]


def test_extended_jpeg_of_12_bits_is_close_to_what_was_encoded(tmp_path):
    encoded = imagecodecs.jpeg8_encode(RAMP, level=100, bitspersample=12)
    path = write(tmp_path / "a.dcm", "51", RAMP, [encoded])
    error = np.abs(load_image(path)[:, :, 0].astype(int) - scaled(RAMP))
    assert error.max() <= 2


def test_signed_values_of_12_bits(tmp_path):
    signed = RAMP.astype(np.int16) - 2048
    encoded = LOSSLESS["70"]((signed.astype(np.uint16) & 0xFFF).astype(np.uint16))
    path = write(tmp_path / "a.dcm", "70", signed, [encoded])
    assert np.array_equal(load_image(path)[:, :, 0], scaled(signed))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_frames_that_are_cut_short(tmp_path, syntax, share):
    encoded = LOSSLESS[syntax](RAMP)
    path = write(tmp_path / "a.dcm", syntax, RAMP, [encoded[: int(len(encoded) * share)]])
    assert reason_of(path) == "image-truncated"


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_a_frame_of_another_size_is_not_decoded(tmp_path, syntax):
    """A few bytes that claim 3.6 billion pixels took 9 GB, or ended the process."""
    encoded = bytearray(LOSSLESS[syntax](RAMP))
    if syntax in ("90", "201"):
        at = encoded.index(b"\xff\x51")
        struct.pack_into(">II", encoded, at + 6, 60000, 60000)
    else:
        marker = next(m for m in (0xC3, 0xF7) if bytes([0xFF, m]) in encoded)
        struct.pack_into(">HH", encoded, encoded.index(bytes([0xFF, marker])) + 5, 60000, 60000)
    path = write(tmp_path / "a.dcm", syntax, RAMP, [bytes(encoded)])
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(path) == "image-unreadable"
    assert time.monotonic() - start < 60  # it would wait for ever
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dcm", "70", RAMP, [LOSSLESS["70"](RAMP)])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ItemError) as caught:
        load_image(path)
    assert caught.value.reason == "image-no-decoder"
    assert "JPEG Lossless: no decoder is installed; pip install imagecodecs" in caught.value.what
    with pytest.raises(ItemError, match="JPEG Lossless"):
        image_size(path)  # so that a check can say it


@pytest.mark.parametrize("syntax", ["100", "102", "53"])
def test_a_syntax_that_nothing_decodes_is_named(tmp_path, syntax):
    path = write(tmp_path / "a.dcm", syntax, RAMP, [b"\0" * 64])
    with pytest.raises(ItemError, match="cannot be decoded; convert the file") as caught:
        load_image(path)
    assert caught.value.reason == "image-no-decoder"


def deflated(path, extra=b""):
    """A deflated file of 8x8 zeros, behind a private element with `extra`."""
    dataset = Dataset()
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.add_new(0x00090010, "LO", "SECRET^OWNER")
    dataset.add_new(0x00091001, "OB", extra)
    dataset.PixelData = bytes(range(64))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_deflated_file(tmp_path):
    path = deflated(tmp_path / "a.dcm")
    assert load_image(path)[:, :, 0].ravel().tolist() == list(range(64))
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert reason_of(path) == "image-truncated"


@pytest.mark.slow
def test_a_deflated_file_is_inflated_up_to_a_limit(tmp_path):
    plain = deflated(tmp_path / "a.dcm").read_bytes()
    at = plain.index(b"UL\x04\0") + 4
    meta_end = at + 4 + int.from_bytes(plain[at : at + 4], "little")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(b"\x09\0\x01\x10OB\0\0" + struct.pack("<I", 2**30))
    for _ in range(64):
        body += deflate.compress(bytes(2**24))
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(plain[:meta_end] + body + deflate.flush())
    assert bomb.stat().st_size < 2**21
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(bomb) == "image-unreadable"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000
    assert file_sha256(bomb)
