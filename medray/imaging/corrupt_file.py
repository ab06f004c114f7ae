"""One corrupted image from one file: what `medray corrupt` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medray.config import CorruptionConfig
from medray.errors import DataError, ItemError
from medray.imaging.corruption import KINDS, Corrupted, corrupt_inside, corrupt_whole
from medray.imaging.load import encode_png, load_image
from medray.imaging.regions import region_mask
from medray.records import Region

Box = tuple[int, int, int, int]


def corrupt_file(
    image: Path,
    out: Path,
    *,
    mask: Path | None = None,
    box: Box | None = None,
    kind: str = "gaussian",
    sigma: float | None = None,
    seed: int = 0,
) -> Corrupted:
    """Corrupt `image` inside a mask or a box (x0, y0, x1, y1), or everywhere; write PNG.

    `sigma` None: the default for `kind` and region of a run's configuration.
    Raises DataError where an input cannot be used or `out` cannot be written.
    """
    image, out = Path(image), Path(out)
    _check(image, out, mask, box, kind, sigma)
    try:
        pixels = load_image(image)
        region = _region(pixels, mask, box)
    except ItemError as error:
        raise DataError(error.what, error.reason, "give another file") from None
    defaults = CorruptionConfig()
    if region is None:
        noise = defaults.whole_sigma if kind == "gaussian" else defaults.sigma
        result = corrupt_whole(pixels, kind, sigma or noise, seed)
    else:
        source = "mask" if mask is not None else "box"
        result = corrupt_inside(pixels, region, source, kind, sigma or defaults.sigma, seed)
    try:
        out.write_bytes(encode_png(result.image))
    except OSError as error:
        raise DataError(str(out), error.strerror or "cannot be written", "choose -o") from None
    return result


def _check(
    image: Path, out: Path, mask: Path | None, box: Box | None, kind: str, sigma: float | None
) -> None:
    if kind not in KINDS:
        raise DataError(f"--kind {kind}", "unknown kind", f"one of {', '.join(KINDS)}")
    if sigma is not None and not (0.0 < sigma < float("inf")):
        raise DataError(f"--sigma {sigma:g}", "must be above 0", "give for example 45")
    if mask is not None and box is not None:
        raise DataError("--mask and --box", "both given", "give one of them")
    if out.suffix.lower() != ".png":
        raise DataError(str(out), "not a .png; other formats change pixels", "name it .png")
    inputs = [path.resolve() for path in (image, mask) if path is not None]
    if out.resolve() in inputs:
        raise DataError(str(out), "is also an input", "write to another file")


def _region(pixels: np.ndarray, mask: Path | None, box: Box | None) -> np.ndarray | None:
    """bool [H, W] of the mask or box given; None where neither is. Raises DataError, ItemError."""
    if mask is None and box is None:
        return None
    height, width = pixels.shape[:2]
    given = Region(label="", box=box, mask=None if mask is None else str(mask))
    region = region_mask([given], height, width)
    if region is None:
        name = f"--mask {mask}" if mask is not None else "--box " + ",".join(map(str, box or ()))
        size = f"the image has {width}x{height} px"
        raise DataError(name, f"marks no pixel; {size}", "give a region inside the image")
    return region
