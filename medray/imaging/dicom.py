"""DICOM to 8-bit RGB as a viewer shows it: first frame, modality LUT, window or VOI LUT.

MONOCHROME1 is inverted. Where the file has neither window nor VOI LUT, grey values of more
than 8 bits are scaled by their own range, padding left out. Only pixels leave this module:
header values appear in no message, warning or exception.
"""

from __future__ import annotations

import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from medray.errors import ItemError
from medray.imaging.scale import MAX_PIXELS, between, by_range

SUFFIXES = (".dcm", ".dicom", ".dic")
PICTURE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
GREY = ("MONOCHROME1", "MONOCHROME2")

# Enhanced multi-frame files keep these one level down, per file or per frame.
FRAME_ATTRIBUTES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}


def looks_like_dicom(path: Path, head: bytes) -> bool:
    """By the magic after the preamble; by the name for files written without a preamble,
    unless they begin as another format does."""
    if head[128:132] == b"DICM":
        return True
    return path.suffix.lower() in SUFFIXES and not head.startswith(PICTURE_MAGIC)


def read_dicom(path: Path) -> np.ndarray:
    """uint8 [H, W, 3] of the first frame. Raises ItemError image-truncated | -unreadable."""
    import pydicom
    from pydicom.config import disable_value_validation

    # pydicom's remarks quote header values, patient names among them
    logging.getLogger("pydicom").propagate = False
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True)
            if not dataset and "TransferSyntaxUID" in dataset.file_meta:
                raise EOFError  # pydicom gives nothing at all where compressed pixels break off
            if "PixelData" not in dataset and "Rows" not in dataset:
                raise ItemError("image-unreadable", f"{path.name}: holds no image")
            if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
                raise ItemError("image-unreadable", f"{path.name}: more than {MAX_PIXELS} px")
            return _first_frame(dataset)
    except (ItemError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise almost anything
        if _cut_short(error):
            raise ItemError("image-truncated", f"{path.name}: the file is cut short") from None
        raise ItemError("image-unreadable", f"{path.name}: not a readable DICOM image") from None


def _cut_short(error: Exception) -> bool:
    """pydicom tells of missing bytes in words, by kind, or as pixel data that are absent."""
    text = str(error).lower()
    words = ("less than expected", "unexpected end", "truncated", "broken data stream")
    missing = isinstance(error, AttributeError) and "pixel data" in text
    return (
        isinstance(error, EOFError | struct.error) or missing or any(word in text for word in words)
    )


def _first_frame(dataset: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, pixel_array

    values = pixel_array(dataset, index=0)
    kind = str(dataset.PhotometricInterpretation)
    if kind in GREY:
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

    _lift_frame_attributes(dataset)
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
    """bool [H, W]: pixels inside the scanned field, or None where the file marks none."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(padding), int(padding if limit is None else limit)))
    return (stored < low) | (stored > high)


def _lift_frame_attributes(dataset: Any) -> None:
    """Copy the first frame's rescale and window to the top level, where pydicom looks."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for sequence, names in FRAME_ATTRIBUTES.items():
            items = (dataset.get(groups) or [{}])[0].get(sequence)
            for name in names if items else ():
                value = items[0].get(name)
                if value is not None and name not in dataset:
                    setattr(dataset, name, value)
