"""Maps characters to tokens and back by a round trip that is checked, never guessed.

The tokens are the sampled ones, which may differ from the tokenizer's own encoding of the same
text. So each token's characters are found by decoding ever longer prefixes of the sampled tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medray.errors import ItemError
from medray.records import Span

_BROKEN = "\ufffd"  # what an incomplete character decodes to


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, without special tokens and with whitespace unchanged."""
    return str(
        tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    )


def token_offsets(tokenizer: Any, ids: Sequence[int], text: str) -> list[tuple[int, int]]:
    """The characters of `text` that each token produces, one range per id.

    Tokens that together form one character all get that character. A special token gets the
    empty range at its position: for the end-of-turn token, at the end of the text.
    Raises ItemError("alignment-failed") if the ids do not decode to `text`, or if the text does
    not grow token by token, so that no token's share can be determined.
    """
    if decode(tokenizer, ids) != text:
        raise ItemError("alignment-failed", "the tokens do not decode to the answer")
    special = set(tokenizer.all_special_ids)
    offsets: list[tuple[int, int]] = []
    covered, previous = 0, ""
    for index, token in enumerate(ids):
        prefix = decode(tokenizer, ids[: index + 1])
        if int(token) in special and prefix == previous:
            offsets.append((covered, covered))
            continue
        settled = _settled(prefix, text)
        if settled < covered:
            raise ItemError("alignment-failed", f"token {index} changes the text before it")
        partial = len(prefix) > settled
        start = covered
        if settled == covered and not partial and prefix.endswith(_BROKEN):
            start = max(0, covered - 1)  # another byte of a character that is still incomplete
        offsets.append((start, min(len(text), settled + partial)))
        covered, previous = settled, prefix
    if covered != len(text):
        raise ItemError("alignment-failed", "the tokens end before the answer does")
    return offsets


def encode_answer(tokenizer: Any, text: str) -> list[int]:
    """The tokens of an edited answer, without special tokens.

    Raises ItemError("alignment-failed") unless they decode to exactly that text.
    """
    ids = [int(token) for token in tokenizer.encode(text, add_special_tokens=False)]
    if decode(tokenizer, ids) != text:
        raise ItemError("alignment-failed", "the tokens do not decode to the edited answer")
    return ids


def edit_mask(offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[bool]:
    """Which tokens are edited: those that share characters with a span.

    An empty span (an insertion on the other side) marks the one token at which the two texts
    diverge: the first that extends beyond its position or starts there. At the end of the text
    that is the end-of-turn token; an answer cut off before it has none, and nothing is marked.

    >>> edit_mask([(0, 4), (4, 9), (9, 9)], [Span(5, 9, "side", 1.0, ""), Span(9, 9, "x", 1.0, "")])
    [False, True, True]
    """
    mask = [False] * len(offsets)
    for span in spans:
        if span.start == span.end:
            position = span.start
            diverging = (i for i, (a, b) in enumerate(offsets) if b > position or a >= position)
            if (first := next(diverging, None)) is not None:
                mask[first] = True
            continue
        for index, (start, end) in enumerate(offsets):
            if max(start, span.start) < min(end, span.end):
                mask[index] = True
    return mask


def _settled(prefix: str, text: str) -> int:
    """The number of characters of the text that a decoded prefix already determines.

    Only an incomplete last character may differ, and it shows as replacement characters.
    """
    if text.startswith(prefix):
        return len(prefix)
    length = len(prefix.rstrip(_BROKEN))
    while length < len(prefix) and length < len(text) and prefix[length] == text[length]:
        length += 1  # replacement characters that the text itself contains
    if not text.startswith(prefix[:length]) or prefix[length:].strip(_BROKEN):
        raise ItemError("alignment-failed", "the text does not grow token by token")
    return length
