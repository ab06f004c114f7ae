"""One way to read an image: uint8 [H, W, 3] RGB, whatever the file holds.

An image is named by the path of its file, or by a part of a file: a frame, or a row of a
Parquet file (`medray.imaging.reference`).

Every failure is an ItemError with one of four reasons: image-missing, image-empty,
image-truncated, image-unreadable. Its message contains the file's name and nothing of its
contents, so that no patient data reach a log.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from medray.errors import ItemError
from medray.files import sha256_of
from medray.imaging.dicom import looks_like_dicom, read_dicom
from medray.imaging.reference import Reference, parse_reference
from medray.imaging.scale import MAX_PIXELS, by_range
from medray.imaging.stored import row_bytes

# Detected by content, not by name. The other formats that Pillow reads are excluded on purpose.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
HEAD_BYTES = 132  # enough for the DICOM preamble and magic
TAIL_BYTES = 64


Source = Path | io.BytesIO


def load_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a PNG, JPEG, DICOM (or TIFF, BMP, GIF, WebP) image; the first frame if none is named.

    Transparency is composited on white, EXIF orientation applied, and more than 8 bits scaled by
    the range of the image; for DICOM see `medray.imaging.dicom`.

    Returns uint8 [H, W, 3] in RGB. Raises ItemError (see the module).
    """
    reference = parse_reference(path)
    source, head, tail = open_bytes(reference)
    frame = 1 if reference.part is None else reference.part
    if looks_like_dicom(Path(reference.file), head):
        return read_dicom(source, reference.name, frame)
    return _read_with_pillow(source, reference.name, frame, head, tail)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal digest of an image's bytes; "" if they cannot be read.

    The digest of a frame combines its number and the digest of its file, so that frames differ.
    """
    reference = parse_reference(path)
    try:
        if reference.column:
            digest = hashlib.sha256(row_bytes(reference)).hexdigest()
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


def open_bytes(reference: Reference) -> tuple[Source, bytes, bytes]:
    """(path or buffer, first bytes, last bytes) of an image. Raises ItemError."""
    if reference.column:
        content = row_bytes(reference)
        return io.BytesIO(content), content[:HEAD_BYTES], content[-TAIL_BYTES:]
    path, name = Path(reference.file), reference.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, size - TAIL_BYTES))
            tail = file.read(TAIL_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise ItemError("image-missing", f"{name}: no such file") from None
    except (OSError, ValueError):  # a folder, no permission, a NUL in the name
        raise ItemError("image-unreadable", f"{name}: cannot be opened") from None
    if not head:
        raise ItemError("image-empty", f"{name}: has no bytes")
    return path, head, tail


def _read_with_pillow(
    source: Source, name: str, frame: int, head: bytes, tail: bytes
) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata are of no use here
            with Image.open(source, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ItemError("image-unreadable", f"{name}: more than {MAX_PIXELS} px")
                if frame != 1:
                    _seek(image, name, frame)
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except ItemError:
        raise
    except MemoryError:
        raise
    except Exception:  # decoders of damaged files raise almost anything
        if _is_truncated(head, tail):
            raise ItemError("image-truncated", f"{name}: the file is cut short") from None
        raise ItemError("image-unreadable", f"{name}: not a readable image") from None


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


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Any Pillow mode → uint8 [H, W, 3]."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = by_range(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.array(image.convert("RGB"))
