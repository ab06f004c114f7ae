"""One way to read an image: uint8 [H, W, 3] RGB, whatever the file holds.

An image is named by the path of its file, or by a part of a file: a frame, or a row of a
Parquet file (`medray.imaging.reference`).

Every failure is an ItemError with one of five reasons: image-missing, image-empty,
image-truncated, image-no-decoder, image-unreadable. Its message contains the file's name and
nothing of its contents, so that no patient data reach a log.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from medray.errors import ItemError
from medray.files import NotAFileError, open_file, sha256_of
from medray.imaging.dicom import check_dicom, looks_like_dicom, read_dicom
from medray.imaging.foreign import foreign_kind
from medray.imaging.reference import Reference, parse_reference
from medray.imaging.scale import MAX_PIXELS, by_range
from medray.imaging.stored import row_bytes

# Detected by content, not by name. The other formats that Pillow reads are excluded on purpose.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
ORIENTATION = 0x0112  # the EXIF tag
HEAD_BYTES = 512  # enough for the DICOM magic, and to know what else a file is
TAIL_BYTES = 64
MARGIN = 3  # an image is decoded at, or averaged to, no less than this many times its final size
MAX_BYTES = 2 * 2**30  # of a file that holds an image: larger than any study that fits in memory

Size = tuple[int, int]  # height, width


def load_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a PNG, JPEG, DICOM (or TIFF, BMP, GIF, WebP) image; the first frame if none is named.

    Transparency is composited on white, EXIF orientation applied, and more than 8 bits scaled by
    the range of the image; for DICOM see `medray.imaging.dicom`.

    Returns uint8 [H, W, 3] in RGB. Raises ItemError (see the module).
    """
    return read_image(path, lambda size: size)[0]


def read_image(
    path: str | os.PathLike[str],
    target: Callable[[Size], Size],
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> tuple[np.ndarray, Size]:
    """As `load_image`, resized to what `target` gives for the image's own (height, width), which is
    returned as well. A JPEG is decoded at a size not far above it."""
    reference = parse_reference(path)
    frame = 1 if reference.part is None else reference.part
    with open_bytes(reference) as (file, head, tail):
        if looks_like_dicom(Path(reference.file), head):
            pixels = read_dicom(file, reference.name, frame)
            size = pixels.shape[0], pixels.shape[1]
            return as_rgb(resized(pixels, target(size), resample)), size
        with _opened(file, reference, frame, head, tail) as image:
            size = _upright_size(image)
            view = target(size)
            if view != size and not image.has_transparency_data:
                image.draft(None, (MARGIN * max(view), MARGIN * max(view)))
            image.load()
            pixels = _to_8_bits(ImageOps.exif_transpose(image))
            return as_rgb(resized(pixels, view, resample)), size


def resized(pixels: np.ndarray, size: Size, resample: Image.Resampling) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] as image processors resize it; itself if it has the size."""
    if pixels.shape[:2] == size:
        return pixels
    image = Image.fromarray(pixels).resize((size[1], size[0]), resample, reducing_gap=MARGIN)
    return np.asarray(image)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] → [H, W, 3]."""
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of an image as `load_image` gives it, from its header alone.

    Raises ItemError if the file is missing, is no image, or none that can be decoded here; damage
    to its pixels is not found.
    """
    reference = parse_reference(path)
    frame = 1 if reference.part is None else reference.part
    with open_bytes(reference) as (file, head, tail):
        if looks_like_dicom(Path(reference.file), head):
            dataset = check_dicom(file, reference.name, frame).dataset
            return int(dataset.Rows), int(dataset.Columns)
        with _opened(file, reference, frame, head, tail) as image:
            return _upright_size(image)


def _upright_size(image: Image.Image) -> Size:
    """(height, width) once the EXIF orientation is applied."""
    sideways = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if sideways else (image.height, image.width)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal digest of an image's bytes; "" if they cannot be read.

    The digest of a frame combines its number and the digest of its file, so that frames differ.
    """
    reference = parse_reference(path)
    try:
        if reference.column:
            digest = hashlib.sha256(row_bytes(reference)).hexdigest()
        elif os.stat(reference.file).st_size > MAX_BYTES:
            return ""
        elif reference.part is None:
            return sha256_of(reference.file)
        else:
            status = os.stat(reference.file)
            digest = _cached_digest(reference.file, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError, ItemError):
        return ""
    if reference.part is None:
        return digest
    return hashlib.sha256(f"{digest}#{reference.part}".encode()).hexdigest()


@lru_cache(maxsize=16)
def _cached_digest(path: str, *version: int) -> str:
    """The digest of a file, requested once per frame. `version`: its mtime and size."""
    return sha256_of(path)


def pixels_sha256(array: np.ndarray) -> str:
    """Hexadecimal digest of an array's dtype, shape and bytes (in C order)."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()


def encode_png(array: np.ndarray) -> bytes:
    """PNG file of a uint8 [H, W, 3] or [H, W] array, or of a bool [H, W] mask (0 or 255)."""
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG")
    return buffer.getvalue()


@contextmanager
def open_bytes(reference: Reference) -> Iterator[tuple[BinaryIO, bytes, bytes]]:
    """The opened image, its first bytes and its last ones. Raises ItemError."""
    name = reference.name
    if reference.column:
        content = row_bytes(reference)
        yield io.BytesIO(content), content[:HEAD_BYTES], content[-TAIL_BYTES:]
        return
    with _open(reference) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES) if size else b""
            file.seek(max(0, size - TAIL_BYTES))
            tail = file.read(TAIL_BYTES)
            file.seek(0)
        except OSError:
            raise ItemError("image-unreadable", f"{name}: cannot be read") from None
        if not head:
            raise ItemError("image-empty", f"{name}: has no bytes")
        if size > MAX_BYTES:
            raise ItemError("image-unreadable", f"{name}: more than {MAX_BYTES >> 30} GiB")
        yield file, head, tail


def _open(reference: Reference) -> BinaryIO:
    name = reference.name
    try:
        return open_file(reference.file)
    except (FileNotFoundError, NotADirectoryError):
        raise ItemError("image-missing", f"{name}: no such file") from None
    except NotAFileError as error:
        raise ItemError("image-unreadable", f"{name}: {error.strerror}") from None
    except (OSError, ValueError):  # no permission, a NUL in the name, a link to itself
        raise ItemError("image-unreadable", f"{name}: cannot be opened") from None


@contextmanager
def _opened(
    file: BinaryIO, reference: Reference, frame: int, head: bytes, tail: bytes
) -> Iterator[Image.Image]:
    """The image of a file that is not DICOM, at its frame. Raises ItemError, also for what is
    raised while it is used."""
    name = reference.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata are of no use here
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ItemError("image-unreadable", f"{name}: more than {MAX_PIXELS} px")
                if frame != 1:
                    _seek(image, name, frame)
                yield image
    except (ItemError, MemoryError):
        raise
    except Exception:  # decoders of damaged files raise almost anything
        if _is_truncated(head, tail):
            raise ItemError("image-truncated", f"{name}: the file is cut short") from None
        kind = foreign_kind(head, reference.file)
        what = f"is {kind}" if kind else "not a readable image"
        raise ItemError("image-unreadable", f"{name}: {what}") from None


def _seek(image: Image.Image, name: str, frame: int) -> None:
    try:
        image.seek(frame - 1)
    except EOFError:
        raise ItemError("image-missing", f"{name}: no such frame") from None


def _is_truncated(head: bytes, tail: bytes) -> bool:
    """Whether a file that failed to decode lacks the end marker of its format."""
    if head.startswith(b"\x89PNG"):
        return b"IEND" not in tail
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in tail
    if head.startswith(b"GIF8"):
        return not tail.endswith(b";")
    return False


def _to_8_bits(image: Image.Image) -> np.ndarray:
    """Any Pillow mode → uint8 [H, W] if it is grey, else [H, W, 3]."""
    if image.mode.startswith("I") or image.mode == "F":
        return by_range(np.asarray(image))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.array(image if image.mode == "L" else image.convert("RGB"))
