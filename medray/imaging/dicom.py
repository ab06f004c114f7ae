"""DICOM to 8-bit RGB as a viewer shows it: one frame, its modality LUT, its window or VOI LUT.

MONOCHROME1 is inverted. Of a multi-frame file only the requested frame is read. If the file has
neither window nor VOI LUT, grey values of more than 8 bits are scaled by their own range,
ignoring padding. Only pixels leave this module: header values appear in no message, warning or
exception.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from medray.errors import ItemError
from medray.imaging.scale import MAX_PIXELS, between, by_range

SUFFIXES = (".dcm", ".dicom", ".dic")
OTHER_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
GREY = ("MONOCHROME1", "MONOCHROME2")

# Enhanced multi-frame files nest these one level deeper, per file or per frame.
FRAME_ATTRIBUTES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}


def looks_like_dicom(path: Path, head: bytes) -> bool:
    """Whether a file is DICOM: by the magic after the preamble, or for files without a preamble
    by name, unless they begin like another format."""
    if head[128:132] == b"DICM":
        return True
    return path.suffix.lower() in SUFFIXES and not head.startswith(OTHER_MAGIC)


def read_dicom(source: Path | io.BytesIO, name: str, frame: int = 1) -> np.ndarray:
    """uint8 [H, W, 3] of a frame, counted from 1; `name` is for messages.

    Raises ItemError image-truncated | image-unreadable | image-missing (no such frame).
    """
    from pydicom.config import disable_value_validation

    # pydicom's log messages quote header values, even patient names
    logging.getLogger("pydicom").propagate = False
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            dataset, pixels = _read(source)
            if not dataset and "TransferSyntaxUID" in dataset.file_meta:
                raise EOFError  # pydicom returns no data if compressed pixels are cut short
            if "PixelData" not in dataset and "Rows" not in dataset:
                raise ItemError("image-unreadable", f"{name}: holds no image")
            if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
                raise ItemError("image-unreadable", f"{name}: more than {MAX_PIXELS} px")
            if not 1 <= frame <= frame_count(dataset):
                raise ItemError("image-missing", f"{name}: no such frame")
            return _rendered(pixels, dataset, frame)
    except (ItemError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise almost anything
        if _is_truncated(error):
            raise ItemError("image-truncated", f"{name}: the file is cut short") from None
        raise ItemError("image-unreadable", f"{name}: not a readable DICOM image") from None


def frame_count(header: Any) -> int:
    """The number of frames in a header, 1 if it is missing or not a number."""
    try:
        return max(1, int(header.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def _read(source: Path | io.BytesIO) -> tuple[Any, Any]:
    """The dataset and the source of its pixels: itself, or for a multi-frame file the file, so
    that only one frame is read."""
    import pydicom

    header = pydicom.dcmread(source, force=True, stop_before_pixels=True)
    if frame_count(header) > 1 and "TransferSyntaxUID" in header.file_meta:
        return header, source
    if isinstance(source, io.BytesIO):
        source.seek(0)
    dataset = pydicom.dcmread(source, force=True)
    return dataset, dataset


def _is_truncated(error: Exception) -> bool:
    """Whether bytes are missing: pydicom says so in the text, the type, or as absent pixel data."""
    text = str(error).lower()
    phrases = (
        "less than expected",
        "unexpected end",
        "truncated",
        "broken data stream",
        "cannot reshape array of size",
    )  # the last one: a frame beyond the end
    missing = isinstance(error, AttributeError) and "pixel data" in text
    return (
        isinstance(error, EOFError | struct.error)
        or missing
        or any(phrase in text for phrase in phrases)
    )


def _rendered(pixels: Any, dataset: Any, frame: int) -> np.ndarray:
    """A frame as uint8 [H, W, 3]. `pixels`: the dataset, or the file that contains them."""
    from pydicom.pixels import apply_color_lut, pixel_array

    values = pixel_array(pixels, index=frame - 1)
    kind = str(dataset.PhotometricInterpretation)
    if kind in GREY:
        _lift_frame_attributes(dataset, frame)
        grey = _grey(values, dataset)
        grey = 255 - grey if kind == "MONOCHROME1" else grey
        return np.repeat(grey[:, :, None], 3, axis=2)
    depth = int(dataset.BitsStored)
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        depth = values.dtype.itemsize * 8
    colour = values if depth == 8 else between(values, 0, 2**depth - 1)
    return np.ascontiguousarray(colour[:, :, :3], dtype=np.uint8)


def _grey(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Stored values [H, W] → uint8 [H, W], larger values brighter."""
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        return by_range(apply_voi(np.rint(values).astype(np.int64), dataset))
    if dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        low, high = apply_windowing(np.array([-1e12, 1e12]), dataset)  # the ends of the window
        return between(apply_windowing(values, dataset), low, high)
    if stored.dtype == np.uint8 and int(dataset.BitsStored) == 8:
        return stored
    return by_range(values, _not_padding(stored, dataset))


def _not_padding(stored: np.ndarray, dataset: Any) -> np.ndarray | None:
    """bool [H, W]: pixels inside the scanned field, or None if the file declares no padding."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(padding), int(padding if limit is None else limit)))
    return (stored < low) | (stored > high)


def _lift_frame_attributes(dataset: Any, frame: int) -> None:
    """Copy a frame's rescale and window to the top level, where pydicom expects them."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[frame - 1 : frame], shared[:1]):
        for sequence, names in FRAME_ATTRIBUTES.items():
            items: Any = groups[0].get(sequence) if groups else None
            for name in names if items else ():
                value = items[0].get(name)
                if value is not None and name not in dataset:
                    setattr(dataset, name, value)
