"""The header of a DICOM file, and where its pixels begin.

Files without a preamble, without meta information or without a transfer syntax are read as well:
little endian, with explicit value representations if the first element has one. A deflated file is
inflated up to a limit.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

SUFFIXES = (".dcm", ".dicom", ".dic")
OTHER_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
MAGIC = b"DICM"
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
# The first groups of a dataset: identifying information, or file meta information.
FIRST_GROUPS = (b"\x02\0", b"\x08\0")
MAX_INFLATED = 320 * 2**20  # bytes: more than the largest image has


class InflatedTooLargeError(Exception):
    """A deflated file holds more than `MAX_INFLATED` bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """`dataset`: all elements before the pixels. `stream`: positioned where the pixels begin.
    `syntax`: the UID of the transfer syntax."""

    dataset: Any
    stream: BinaryIO
    syntax: str


def looks_like_dicom(path: Path, head: bytes) -> bool:
    """Whether a file is DICOM: by the magic after the preamble; for files without a preamble by
    name, unless they begin like another format, or by their first element."""
    if head[128:132] == MAGIC:
        return True
    if path.suffix.lower() in SUFFIXES:
        return not head.startswith(OTHER_MAGIC)
    return head[:2] in FIRST_GROUPS and _is_element(head)


def _is_element(head: bytes) -> bool:
    """Whether the bytes are an element of a small number in its group, and a short one."""
    if len(head) < 8 or head[3:4] != b"\0":
        return False
    explicit = head[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH", b"DA", b"TM")
    length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
    return length <= 64 and (explicit or head[6:8] == b"\0\0")


def read_header(file: BinaryIO, *, tags: list[str] | None = None) -> Header:
    """The header of an opened file, to be used within `quiet`. `tags`: read only these.

    Raises whatever pydicom raises, and InflatedTooLargeError.
    """
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.tag import Tag

    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = str(meta.get("TransferSyntaxUID") or "") or _guessed(file)
    if syntax == DEFLATED:
        file, syntax = inflated(file), EXPLICIT
    dataset = read_dataset(
        file,
        syntax == IMPLICIT,
        syntax != "1.2.840.10008.1.2.2",
        stop_when=lambda tag, vr, length: tag in (0x7FE00008, 0x7FE00009, 0x7FE00010),
        specific_tags=tags and [Tag(tag) for tag in tags],
    )
    return Header(dataset, file, syntax)


def inflated(file: BinaryIO) -> BinaryIO:
    """What follows in a deflated file. Raises InflatedTooLargeError, zlib.error."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflate.decompress(file.read(), MAX_INFLATED)
    if inflate.unconsumed_tail:
        raise InflatedTooLargeError
    if not inflate.eof:
        raise EOFError
    return io.BytesIO(content)


def frame_count(dataset: Any) -> int:
    """The number of frames in a header, 1 if it is missing or not a number."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def _guessed(file: BinaryIO) -> str:
    """The transfer syntax of a file that states none: the default one of the standard, unless its
    first element has a value representation."""
    first = file.read(6)
    file.seek(-len(first), io.SEEK_CUR)
    return EXPLICIT if first[4:6].isalpha() and first[4:6].isupper() else IMPLICIT


@contextmanager
def quiet() -> Iterator[None]:
    """Read without pydicom's warnings and log messages, which quote header values, even names."""
    from pydicom.config import disable_value_validation

    logging.getLogger("pydicom").propagate = False
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        yield
