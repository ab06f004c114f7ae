"""Stored values to grey levels, as a viewer shows them.

rescale or modality LUT ──▶ VOI LUT, or else window, or else the values' own range

What a header says about display is a hint: an attribute that is empty, not a number or of no use is
passed over, and the next one counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from medray.imaging.scale import between, by_range

# Enhanced multi-frame files nest these one level deeper, per file or per frame.
FRAME_ATTRIBUTES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
FEW_PIXELS = 2**17  # below so many, tables do not pay
ROWS = 32  # looked up at a time: their indices stay in the processor's cache
NOT_MONOTONIC = ("PixelPaddingValue", "VOILUTSequence", "ModalityLUTSequence")


def grey_levels(stored: np.ndarray, dataset: Any, frame: int) -> np.ndarray:
    """Stored values [H, W] → uint8 [H, W], larger values brighter."""
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2 or stored.size < FEW_PIXELS:
        return _grey_levels(stored, dataset, frame)
    # Each value has one grey level, whichever pixels have it: of millions of pixels there are at
    # most 65,536 values to work on.
    values = _values(stored, dataset)
    levels = np.zeros(256**stored.dtype.itemsize, np.uint8)
    levels[_codes(values)] = _grey_levels(values[None], dataset, frame)[0]
    shown = np.empty(stored.shape, np.uint8)
    for rows in range(0, len(stored), ROWS):
        codes = _codes(stored[rows : rows + ROWS])
        np.take(levels, codes, out=shown[rows : rows + ROWS], mode="clip")
    return shown


def _values(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """The values of a frame, each once. Where only the least and the greatest decide how the others
    are shown, those between them that no pixel has are among them: that takes no search."""
    if any(dataset.get(name) is not None for name in NOT_MONOTONIC):
        present = np.zeros(256**stored.dtype.itemsize, bool)
        present[_codes(stored)] = True
        codes = np.flatnonzero(present).astype(f"u{stored.dtype.itemsize}")
        return codes.view(stored.dtype.newbyteorder("="))
    return np.arange(int(stored.min()), int(stored.max()) + 1).astype(stored.dtype)


def _codes(values: np.ndarray) -> np.ndarray:
    """Values of at most two bytes as indices from 0, those below 0 behind the others."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{native.dtype.itemsize}")


def _grey_levels(stored: np.ndarray, dataset: Any, frame: int) -> np.ndarray:
    attributes = _of_frame(dataset, frame)
    values, slope = _rescaled(stored, dataset, attributes)
    valid = _not_padding(stored, dataset)
    for shown in (_by_lut(values, dataset), _by_window(values, attributes, slope)):
        if shown is not None and _shows_something(shown, values, valid):
            return shown
    if stored.dtype == np.uint8 and _number(dataset.get("BitsStored")) == 8:
        return stored
    return by_range(values, valid)


@dataclass(frozen=True, slots=True)
class _Lut:
    """A table: `first` is the value of its first entry, `top` the greatest output there can be."""

    entries: np.ndarray
    first: int
    top: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[np.nan_to_num(index).astype(np.int64)]


def _of_frame(dataset: Any, frame: int) -> dict[str, Any]:
    """Rescale and window: the file's own, or else those of the frame, or else of all frames."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    places = [dataset]
    for groups in (per_frame[frame - 1 : frame], shared[:1]):
        for sequence in FRAME_ATTRIBUTES if groups else ():
            places += list(groups[0].get(sequence) or [])[:1]
    found: dict[str, Any] = {}
    for name in (name for names in FRAME_ATTRIBUTES.values() for name in names):
        stated = (place.get(name) for place in places)
        found[name] = next((value for value in stated if value not in (None, "")), None)
    return found


def _rescaled(
    stored: np.ndarray, dataset: Any, attributes: dict[str, Any]
) -> tuple[np.ndarray, float]:
    """(values after modality LUT or rescale, the step between two of them)."""
    lut = _lut(dataset.get("ModalityLUTSequence"), signed=stored.dtype.kind == "i")
    if lut is not None:
        return lut.apply(stored).astype(np.float64), 1.0
    slope, intercept = (_number(attributes[key]) for key in ("RescaleSlope", "RescaleIntercept"))
    slope, intercept = slope or 1.0, intercept or 0.0
    return stored.astype(np.float64) * slope + intercept, abs(slope)


def _by_lut(values: np.ndarray, dataset: Any) -> np.ndarray | None:
    """By the VOI LUT, whose output range is that of its bits; None without a usable one."""
    signed = bool(np.nanmin(values) < 0) if values.size else False
    lut = _lut(dataset.get("VOILUTSequence"), signed=signed)
    return None if lut is None else between(lut.apply(values), 0, lut.top)


def _lut(sequence: Any, *, signed: bool) -> _Lut | None:
    """The first table of a sequence; None if there is none, or it is not a whole one."""
    try:
        item = sequence[0]
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        count = count or 2**16
        if signed and first >= 2**15:
            first -= 2**16  # stored without a sign
        entries = _entries(item.LUTData, count, bits)
    except Exception:  # absent, empty, or of another type
        return None
    if entries is None or not 1 <= bits <= 16:
        return None
    largest = int(entries.max())
    if bits == 16 and largest < 2**15:  # 16 is also what files say whose tables have fewer bits
        return _Lut(entries, first, largest)
    return _Lut(entries, first, 2 ** max(bits, largest.bit_length()) - 1)


def _entries(data: Any, count: int, bits: int) -> np.ndarray | None:
    """The entries of a table, from words or bytes; None if some are missing."""
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) < 2 * count
        entries = np.frombuffer(data[: len(data) // 2 * 2], np.uint8 if packed else "<u2")
    else:
        entries = np.atleast_1d(np.asarray(data)).astype(np.int64)
        if bits <= 8 and len(entries) == (count + 1) // 2 < count:  # two entries in each word
            entries = entries.astype("<u2").view(np.uint8)
    entries = entries[:count].astype(np.int64)
    return entries if len(entries) == count and entries.min() >= 0 else None


def _by_window(values: np.ndarray, attributes: dict[str, Any], slope: float) -> np.ndarray | None:
    """By the first window that has a centre and a width; None if there is none."""
    centres, widths = (_numbers(attributes[key]) for key in ("WindowCenter", "WindowWidth"))
    function = str(attributes["VOILUTFunction"] or "LINEAR").strip().upper()
    for centre, width in zip(centres, widths, strict=False):
        if centre is None or width is None or width < min(1.0, 2 * slope):
            continue
        if function == "SIGMOID":
            with np.errstate(over="ignore"):
                return between(1 / (1 + np.exp(-4 * (values - centre) / width)), 0, 1)
        if function == "LINEAR_EXACT" or width < 1:
            return between(values, centre - width / 2, centre + width / 2)
        low = centre - 0.5 - (width - 1) / 2
        return between(values, low, low + max(width - 1, 1e-9))
    return None


def _shows_something(shown: np.ndarray, values: np.ndarray, valid: np.ndarray | None) -> bool:
    """Whether an image is not all black or all white although its values differ."""
    if valid is not None and valid.any():
        shown, values = shown[valid], values[valid]
    return bool(shown.min() != shown.max() or values.min() == values.max())


def _not_padding(stored: np.ndarray, dataset: Any) -> np.ndarray | None:
    """bool [H, W]: pixels inside the scanned field, or None if the file declares no padding."""
    padding = _number(dataset.get("PixelPaddingValue"))
    if padding is None:
        return None
    limit = _number(dataset.get("PixelPaddingRangeLimit"))
    low, high = sorted((padding, padding if limit is None else limit))
    return (stored < low) | (stored > high)


def _numbers(value: Any) -> list[float | None]:
    several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    return [_number(entry) for entry in (value if several else [value])]


def _number(value: Any) -> float | None:
    """A finite number; None for anything else. Of several the first."""
    if type(value).__name__ == "MultiValue" or isinstance(value, list | tuple):
        value = value[0] if len(value) else None
    if isinstance(value, bytes) and len(value) == 2:  # of unknown type: a word
        value = int.from_bytes(value, "little")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
