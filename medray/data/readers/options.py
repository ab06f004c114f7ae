r"""Multiple-choice rows: the options become part of the question, and the answer names one of them.

    {"question": "Which plane?", "options": ["Axial", "Coronal"], "answer": "B"}

becomes the question "Which plane?\nA. Axial\nB. Coronal" with the reference "B. Coronal".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from medray.data.rows import FieldError, is_scalar, words

KEYS = ("options", "choices")
MOST = 10  # options of one question
_LABEL = re.compile(r"\(?([A-Za-z])\s*[.):]\s*(?=\S)|\(([A-Za-z])\)\s*(?=\S)")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.):]?")


def read_options(item: dict[str, Any]) -> tuple[str, ...]:
    """The texts of a row's options, without their letters; () if it has none.

    A list of texts, a mapping from letters to texts, or one of these written as a text.
    Raises FieldError.
    """
    key = next((key for key in KEYS if item.get(key) not in (None, "", [], {})), None)
    if key is None:
        return ()
    value = item[key]
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise FieldError(key, "is not a list of texts") from None
    if isinstance(value, dict):
        value = [value[letter] for letter in _letters_of(value, key)]
    if not isinstance(value, list | tuple) or not all(map(is_scalar, value)):
        raise FieldError(key, "is not a list of texts")
    texts = _unlabelled([words(text) for text in value])
    if not 2 <= len(texts) <= MOST:
        raise FieldError(key, f"has {len(texts)} options, not 2 to {MOST}")
    if not all(texts) or len({text.lower() for text in texts}) < len(texts):
        raise FieldError(key, "has an empty option, or the same one twice")
    return tuple(texts)


def with_options(question: str, options: Sequence[str]) -> str:
    r"""The question as it is asked, an option a line.

    >>> with_options("Which plane?", ["Axial", "Coronal"])
    'Which plane?\nA. Axial\nB. Coronal'
    """
    return "\n".join([question, *map(_labelled, ascii_uppercase, options)])


def option_reference(answer: str, options: Sequence[str]) -> str:
    """The reference: the letter and the text of the option that the answer gives by either.

    Raises FieldError if it gives none of them.

    >>> option_reference("b", ["Axial", "Coronal"]), option_reference("axial", ["Axial", "Coronal"])
    ('B. Coronal', 'A. Axial')
    """
    number = _stated(answer, options)
    if number is None:
        raise FieldError("answer", f"{answer!r} is neither the letter nor the text of an option")
    return _labelled(ascii_uppercase[number], options[number])


def _stated(answer: str, options: Sequence[str]) -> int | None:
    """The number of the option that an answer gives by text, by letter, or by both alike."""
    lowered = [text.lower() for text in options]
    for text in (answer.lower(), answer.lower().rstrip(".")):
        if text in lowered:
            return lowered.index(text)
    label = _LABEL.match(answer)
    letter = _LETTER.fullmatch(answer)
    number = _index(label) if label else ascii_uppercase.index(letter[1].upper()) if letter else -1
    if not 0 <= number < len(options):
        return None
    rest = answer[label.end() :].lower().rstrip(".") if label else ""
    return number if rest in ("", lowered[number]) else None


def _labelled(letter: str, text: str) -> str:
    return f"{letter}. {text}"


def _index(label: re.Match[str] | None) -> int:
    return ascii_uppercase.index((label[1] or label[2]).upper()) if label else -1


def _letters_of(value: dict[Any, Any], key: str) -> list[Any]:
    """The keys of a mapping of options: A, B, C, … in order, without those that are null."""
    letters = sorted(letter for letter in value if value[letter] is not None)
    if [str(letter).upper() for letter in letters] != list(ascii_uppercase[: len(letters)]):
        raise FieldError(key, "is a mapping whose keys are not A, B, C, …")
    return letters


def _unlabelled(texts: list[str]) -> list[str]:
    """The options without "A.", "B)" or "(C)" before them, if all of them have theirs."""
    labels = [_LABEL.match(text) for text in texts]
    if all(_index(label) == number for number, label in enumerate(labels)):
        return [text[label.end() :] for text, label in zip(texts, labels, strict=True) if label]
    return texts
