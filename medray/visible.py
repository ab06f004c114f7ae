"""Text of a dataset or a model on a terminal, in a log, in an error: it controls nothing.

Characters that move the cursor, ring, colour, or turn the direction of writing become visible.
"""

from __future__ import annotations

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
