"""Terminals and logs: what texts of datasets and models do to them, and what they do to a command.

Characters that move the cursor, ring, colour, or turn the direction of writing become visible; and
no output, whatever its encoding and whoever stops reading it, ends a command.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070))
# Invisible: zero width space, byte-order mark, line separators, annotations, and tags, which
# spell a text that a model reads and nobody sees.
HIDDEN = (0x200B, *range(0x2060, 0x2066), 0xFEFF, 0x2028, 0x2029, *range(0xFFF9, 0xFFFC))
TAGS = range(0xE0000, 0xE0080)
CONTROLS = tuple(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r")
SURROGATES = range(0xD800, 0xE000)  # halves of characters, which no terminal can encode

_SYMBOLS = {code: f"[U+{code:04X}]" for code in (*CONTROLS, 13, *BIDI, *HIDDEN, *TAGS)}
_SYMBOLS |= dict.fromkeys(SURROGATES, "\ufffd")
_NOTHING: dict[int, str | None] = dict.fromkeys((*CONTROLS, *BIDI, *HIDDEN, *TAGS))
_NOTHING |= {0x2028: " ", 0x2029: " "}


def visible(text: str | None) -> str:
    r"""`text` with characters that do something spelt out, except newline and tab.

    >>> visible("a\x1b[2Jb\u202ec"), visible(None)
    ('a[U+001B][2Jb[U+202E]c', '')
    """
    return (text or "").translate(_SYMBOLS)


def without_controls(text: str) -> str:
    r"""`text` without characters that do something or hide: none of them is ever trained on.

    >>> without_controls("a\x1bb\u202ec\td")
    'abc\td'
    """
    return text.translate(_NOTHING)


class _LastingFile(io.FileIO):
    """An output that ends no run: once nobody reads it any more, what is written to it is lost.

    `full`: whether something was lost because the disk is full; this is no good end.
    """

    full = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENOSPC):
                raise
            self.full = error.errno == errno.ENOSPC
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def lasting_output() -> _LastingFile:
    """Give the process a stdout and a stderr that take any character and can be closed, for
    example by `head`; returns the file of stdout."""
    files = []
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would get its place
            os.open(os.devnull, os.O_RDWR)
        if number:
            encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
            file = _LastingFile(number, "wb", closefd=False)
            files.append(file)
            stream = io.TextIOWrapper(
                io.BufferedWriter(file),
                encoding=encoding,
                errors="backslashreplace",
                line_buffering=file.isatty() or name == "stderr",
            )
            setattr(sys, name, stream)
    return files[0]
