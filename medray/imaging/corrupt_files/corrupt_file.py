"""Corrupt the image of one file, as `medray corrupt` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from medray.config import CorruptionConfig
from medray.errors import DataError, ItemError
from medray.files import output_file
from medray.imaging.corruption import Corrupted, corrupt_inside, corrupt_whole
from medray.imaging.kinds import KINDS
from medray.imaging.load import encode_png, load_image
from medray.imaging.reference import parse_reference
from medray.imaging.regions import region_mask
from medray.records import Region

Box = tuple[int, int, int, int]

# The setting that --sigma sets, by kind; the other kinds have none.
STRENGTH = {"gaussian": "sigma", "blur": "sigma", "replacement": "replacement_sigma"}


def corrupt_file(
    image: Path,
    out: Path,
    *,
    mask: Path | None = None,
    box: Box | None = None,
    kind: str = "gaussian",
    seed: int = 0,
    **options: Any,
) -> Corrupted:
    """Corrupt `image` inside a mask or a box (x0, y0, x1, y1), or everywhere; write a PNG.

    `options`: sigma, feather, step, crop_scale; missing ones and None mean the default of a run's
    configuration. Raises DataError if an input cannot be used or `out` cannot be written.
    """
    image, out = Path(image), Path(out)
    settings = settings_of(kind, mask is None and box is None, **options)
    if out.suffix.lower() != ".png":
        raise DataError(str(out), "not a .png; other formats change pixels", "name it .png")
    check_paths(out, image, mask)
    pixels, region = read_pair(image, mask, box)
    try:
        if region is None:
            result = corrupt_whole(pixels, settings, seed)
        else:
            source = "mask" if mask is not None else "box"
            result = corrupt_inside(pixels, region, source, settings, seed)
    except ItemError as error:
        raise DataError(f"--kind {kind}", error.what, "give --mask or --box") from None
    write(out, encode_png(result.image))
    return result


def settings_of(kind: str, everywhere: bool, **options: Any) -> CorruptionConfig:
    """The configuration for the options of the command. Raises DataError."""
    if kind not in KINDS:
        raise DataError(f"--kind {kind}", "unknown kind", f"one of {', '.join(KINDS)}")
    given = {key: value for key, value in options.items() if value is not None}
    if "sigma" in given:
        sigma = given.pop("sigma")
        if kind not in STRENGTH:
            raise DataError(f"--sigma {sigma:g}", f"{kind} has none", "leave it out")
        given["whole_sigma" if everywhere and kind == "gaussian" else STRENGTH[kind]] = sigma
    try:
        return CorruptionConfig.model_validate({"kind": kind, **given})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "sigma"
        option = "sigma" if key.endswith("sigma") else key.replace("_", "-")
        why = first["msg"].removeprefix("Value error, ")
        value = given.get(key, options.get(key))
        raise DataError(f"--{option} {value}", why, "see docs/corruption.md") from None


def check_paths(out: Path, image: Path, mask: Path | None) -> None:
    """Raise DataError if `out` would overwrite an input."""
    files = [parse_reference(path).file for path in (image, mask) if path is not None]
    if os.path.realpath(out) in map(os.path.realpath, files):  # no error for a link to itself
        raise DataError(str(out), "is also an input", "write to another file")


def read_pair(
    image: Path, mask: Path | None, box: Box | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The image, uint8 [H, W, 3], and its region, bool [H, W].

    The region is None if neither mask nor box is given. Raises DataError.
    """
    if mask is not None and box is not None:
        raise DataError("--mask and --box", "both given", "give one of them")
    try:
        pixels = load_image(image)
        if mask is None and box is None:
            return pixels, None
        height, width = pixels.shape[:2]
        given = Region(label="", box=box, mask=None if mask is None else str(mask))
        region = region_mask([given], height, width)
    except ItemError as error:
        raise DataError(error.what, error.reason, "give another file") from None
    if region is None:
        name = f"--mask {mask}" if mask is not None else "--box " + ",".join(map(str, box or ()))
        size = f"the image has {width}x{height} px"
        raise DataError(name, f"marks no pixel; {size}", "give a region inside the image")
    return pixels, region


def write(out: Path, content: bytes) -> None:
    """Write a file. Raises DataError if it cannot be written."""
    with output_file(out) as temporary:
        temporary.write_bytes(content)
