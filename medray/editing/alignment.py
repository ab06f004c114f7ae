"""Characters to tokens and back, by a round trip that is checked, never guessed.

The tokens are those that were sampled: the way a tokenizer would write the same text may
differ. So each token's characters are found by decoding the sampled tokens one more at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medray.errors import ItemError
from medray.records import Span

_BROKEN = "\ufffd"  # what an incomplete character decodes to


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens left out, blanks as they are."""
    return str(
        tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    )


def token_offsets(tokenizer: Any, ids: Sequence[int], text: str) -> list[tuple[int, int]]:
    """The characters of `text` that each token gives, one range per id.

    Tokens that together make one character all get that character. A special token gets the
    empty range where it stands: the end-of-turn token that at the end of the text.
    Raises ItemError("alignment-failed") where the ids do not decode to `text`, or where the
    text does not grow token by token so that a token's share could be told.
    """
    if decode(tokenizer, ids) != text:
        raise ItemError("alignment-failed", "the tokens do not decode to the answer")
    special = set(tokenizer.all_special_ids)
    offsets: list[tuple[int, int]] = []
    done, before = 0, ""
    for index, token in enumerate(ids):
        prefix = decode(tokenizer, ids[: index + 1])
        if int(token) in special and prefix == before:
            offsets.append((done, done))
            continue
        settled = _settled(prefix, text)
        if settled < done:
            raise ItemError("alignment-failed", f"token {index} changes the text before it")
        partial = len(prefix) > settled
        start = done
        if settled == done and not partial and prefix.endswith(_BROKEN):
            start = max(0, done - 1)  # a byte more of a character that stays broken
        offsets.append((start, min(len(text), settled + partial)))
        done, before = settled, prefix
    if done != len(text):
        raise ItemError("alignment-failed", "the tokens end before the answer does")
    return offsets


def encode_answer(tokenizer: Any, text: str) -> list[int]:
    """The tokens of an edited answer, without special ones.

    Raises ItemError("alignment-failed") unless they decode to exactly that text again.
    """
    ids = [int(token) for token in tokenizer.encode(text, add_special_tokens=False)]
    if decode(tokenizer, ids) != text:
        raise ItemError("alignment-failed", "the edited answer is not what its tokens decode to")
    return ids


def edit_mask(offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[bool]:
    """Which tokens are edited: those that share characters with a span.

    An empty span (an insertion on the other side) marks the one token at which the two texts
    part: the first that reaches beyond its place or begins there. At the end of the text that
    is the end-of-turn token; an answer cut off before it has none, and nothing is marked.

    >>> edit_mask([(0, 4), (4, 9), (9, 9)], [Span(5, 9, "side", 1.0, ""), Span(9, 9, "x", 1.0, "")])
    [False, True, True]
    """
    mask = [False] * len(offsets)
    for span in spans:
        if span.start == span.end:
            place = span.start
            parting = (i for i, (a, b) in enumerate(offsets) if b > place or a >= place)
            if (first := next(parting, None)) is not None:
                mask[first] = True
            continue
        for index, (start, end) in enumerate(offsets):
            if max(start, span.start) < min(end, span.end):
                mask[index] = True
    return mask


def _settled(prefix: str, text: str) -> int:
    """How many characters of the text a decoded prefix already determines.

    Only an incomplete last character may differ, and it shows as replacement characters.
    """
    if text.startswith(prefix):
        return len(prefix)
    whole = len(prefix.rstrip(_BROKEN))
    while whole < len(prefix) and whole < len(text) and prefix[whole] == text[whole]:
        whole += 1  # replacement characters that the text itself has
    if not text.startswith(prefix[:whole]) or prefix[whole:].strip(_BROKEN):
        raise ItemError("alignment-failed", "the text does not grow token by token")
    return whole
