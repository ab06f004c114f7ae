"""DICOM to 8-bit RGB as a viewer shows it: one frame, its modality LUT, its window or VOI LUT.

MONOCHROME1 is inverted. Of a multi-frame file only the requested frame is decoded. Values that a
file should state and does not are those that its pixels suggest.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np

from medray.errors import ItemError
from medray.imaging.dicom.decoding import require_decoder, stored_values
from medray.imaging.dicom.display import grey_levels
from medray.imaging.dicom.header import (
    Header,
    InflatedTooLargeError,
    frame_count,
    quiet,
    read_header,
)
from medray.imaging.scale import MAX_PIXELS, between

GREY = ("MONOCHROME1", "MONOCHROME2")


def read_dicom(file: BinaryIO, name: str, frame: int = 1) -> np.ndarray:
    """uint8 [H, W] of a grey frame, [H, W, 3] of a coloured one, counted from 1; `name` is for
    messages.

    Raises ItemError image-truncated | image-unreadable | image-no-decoder | image-missing (no such
    frame).
    """
    header = check_dicom(file, name, frame)
    try:
        with quiet():
            return _rendered(header, frame)
    except MemoryError:
        raise
    except Exception as error:  # decoders of damaged files raise almost anything
        raise _fault(error, name) from None


def check_dicom(file: BinaryIO, name: str, frame: int = 1) -> Header:
    """The header of a file, if what it states can be decoded. Raises ItemError as `read_dicom`."""
    try:
        with quiet():
            header = read_header(file)
            _check(header, name, frame)
            return header
    except (ItemError, MemoryError):
        raise
    except Exception as error:  # damaged headers raise almost anything
        raise _fault(error, name) from None


def _check(header: Header, name: str, frame: int) -> None:
    dataset = header.dataset
    if "Rows" not in dataset or "Columns" not in dataset:
        if not len(dataset):
            raise EOFError  # nothing could be read: cut short, or not DICOM
        raise ItemError("image-unreadable", f"{name}: holds no image")
    _complete(dataset)
    if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
        raise ItemError("image-unreadable", f"{name}: more than {MAX_PIXELS} px")
    if not 1 <= frame <= frame_count(dataset):
        raise ItemError("image-missing", f"{name}: no such frame")
    require_decoder(header.syntax, name)


def _fault(error: Exception, name: str) -> ItemError:
    if isinstance(error, InflatedTooLargeError):
        return ItemError("image-unreadable", f"{name}: inflates to more than an image needs")
    if _is_truncated(error):
        return ItemError("image-truncated", f"{name}: the file is cut short")
    return ItemError("image-unreadable", f"{name}: not a readable DICOM image")


def _is_truncated(error: Exception) -> bool:
    """Whether bytes are missing: pydicom says so in the text, or by the type."""
    text = str(error).lower()
    phrases = (
        "less than expected",
        "unexpected end",
        "truncated",
        "broken data stream",
        "cannot reshape array of size",
    )  # the last one: a frame beyond the end
    return isinstance(error, EOFError | struct.error) or any(phrase in text for phrase in phrases)


def _complete(dataset: Any) -> None:
    """Fill in how the pixels are laid out where the file does not say it, or nonsense."""
    samples = _whole(dataset, "SamplesPerPixel") or 1
    dataset.SamplesPerPixel = samples
    if not dataset.get("PhotometricInterpretation"):
        dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    if samples > 1 and _whole(dataset, "PlanarConfiguration") not in (0, 1):
        dataset.PlanarConfiguration = 0
    if _whole(dataset, "PixelRepresentation") not in (0, 1):
        dataset.PixelRepresentation = 0
    allocated = _whole(dataset, "BitsAllocated")
    if allocated and not 1 <= (_whole(dataset, "BitsStored") or 0) <= allocated:
        dataset.BitsStored = allocated
    if "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = frame_count(dataset)


def _whole(dataset: Any, name: str) -> int | None:
    try:
        return int(dataset.get(name))
    except (TypeError, ValueError):
        return None


def _rendered(header: Header, frame: int) -> np.ndarray:
    """A frame as uint8 [H, W] or [H, W, 3]."""
    from pydicom.pixels import apply_color_lut

    dataset = header.dataset
    values = stored_values(header, frame)
    kind = str(dataset.PhotometricInterpretation).strip().upper()
    if values.ndim == 2 and kind != "PALETTE COLOR":
        grey = grey_levels(values, dataset, frame)
        return 255 - grey if kind == "MONOCHROME1" else grey
    depth = int(dataset.BitsStored)
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        depth = values.dtype.itemsize * 8
    colour = values if depth == 8 else between(values, 0, 2**depth - 1)
    return np.ascontiguousarray(colour[:, :, :3], dtype=np.uint8)
