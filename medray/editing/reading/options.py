"""The options of a multiple-choice question, and which of them a text chooses.

What is shown?  A. Pneumonia  B. Effusion      "The answer is B: effusion."
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from medray.editing.base import Change
from medray.editing.language.grammar import match_case
from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.compare import Comparison

_LETTER = re.compile(
    r"(?:(?<=\s)|(?<=[\n,;:?])|\A)\(?(?P<letter>[A-Ja-j])\s?(?P<mark>[.):])\s*(?=\S)"
)
_LISTED = re.compile(r"\b(?:options|choices)\s*(?:are)?\s*:\s*", re.IGNORECASE)
_CHOSEN = re.compile(
    r"(?:\b(?:the\s+)?(?:correct\s+|right\s+|best\s+|final\s+)?(?:answer|option|choice)\s*(?:is|:)?"
    r"\s*(?:option\s+)?|\A)[\s*\"'(\[]*(?P<letter>[A-Ja-j])(?:[\s*\"')\].:,;]+|\Z)",
    re.IGNORECASE,
)
_ARTICLES = ("a", "an", "the")


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its `letter` ("" if it has none), its text, and where both stand in the question:
    characters [start, end)."""

    letter: str
    text: str
    start: int
    end: int


@functools.lru_cache(maxsize=4096)
def options(question: str) -> tuple[Option, ...]:
    """The options that a question lists; () if it lists none.

    >>> [(o.letter, o.text) for o in options("Which plane? A. Axial B. Coronal")]
    [('A', 'Axial'), ('B', 'Coronal')]
    >>> [o.text for o in options("Which plane? Options: axial, coronal")]
    ['axial', 'coronal']
    """
    marks = _consecutive(list(_LETTER.finditer(question)))
    if len(marks) > 1:
        stops = [mark.start() for mark in marks[1:]] + [len(question)]
        return tuple(
            _option(question, mark["letter"].upper(), mark.start(), mark.end(), stop)
            for mark, stop in zip(marks, stops, strict=True)
        )
    listed = _LISTED.search(question)
    if listed is None:
        return ()
    pieces = re.finditer(r"[^,;\n|/]+", question[listed.end() :])
    found = [
        _option(
            question, "", listed.end() + p.start(), listed.end() + p.start(), listed.end() + p.end()
        )
        for p in pieces
        if phrase_words(p.group())
    ]
    return tuple(found) if len(found) > 1 else ()


def stem_of(question: str) -> str:
    """A multiple-choice question without its options."""
    listed = options(question)
    if not listed:
        return question
    stem = question[: listed[0].start]
    return re.sub(
        r"\b(?:options|choices)\s*(?:are)?\s*:?\s*$", "", stem, flags=re.IGNORECASE
    ).strip()


def chosen_option(text: str, options: tuple[Option, ...]) -> Option | None:
    """The option that a text chooses, by its letter or its text; None if none or several.

    >>> chosen_option("The answer is (B).", options("Plane? A) axial B) coronal")).text
    'coronal'
    """
    by_letter = _by_letter(text.strip(), options)
    by_text = _by_text(text, options)
    if by_letter and by_text and by_letter != by_text:
        return None
    return by_letter or by_text


def compare_options(
    options: tuple[Option, ...], known: Option | None, text: str
) -> list[Comparison]:
    """Compares the option that an answer chooses with the reference's."""
    stated = chosen_option(text, options) if known else None
    if known is None or stated is None:
        return []
    if stated == known:
        return [Comparison(True, "option", "kind")]
    return [Comparison(False, "option", "kind", change=_exchange(text, stated, known))]


def _exchange(text: str, stated: Option, known: Option) -> Change | None:
    """The change of the chosen option, as the text writes it: its letter, its text or both."""
    named = re.search(re.escape(stated.text), text, re.IGNORECASE) if stated.text else None
    letters = (m for m in _CHOSEN.finditer(text.rstrip()) if not _is_article(m, text))
    letter = next((m for m in letters if m["letter"].upper() == stated.letter), None)
    new_text = match_case(named.group(), known.text) if named else ""
    if letter is None and named:
        label = re.search(rf"\b{stated.letter}\b(?=\W*\Z)", text[: named.start()])
        if stated.letter and label:  # "it is B. Effusion"
            new_text = known.letter + text[label.end() : named.start()] + new_text
            return Change(label.start(), named.end(), new_text)
        return Change(*named.span(), new_text)
    if letter is None:
        return None
    start, end = letter.span("letter")
    new = match_case(letter["letter"], known.letter)
    if named is None:
        return Change(start, end, new)
    return Change(start, named.end(), new + text[end : named.start()] + new_text)


def _consecutive(marks: list[re.Match[str]]) -> list[re.Match[str]]:
    """The marks A, B, C, … in this order and written alike."""
    found: list[re.Match[str]] = []
    for mark in marks:
        expected = chr(ord("A") + len(found))
        alike = not found or mark["mark"] == found[0]["mark"]
        if mark["letter"].upper() == expected and alike:
            found.append(mark)
    return found


def _option(question: str, letter: str, start: int, text_start: int, stop: int) -> Option:
    text = question[text_start:stop].strip().rstrip(",;.|").strip()
    text = re.sub(r"^(?:or|and)\s+", "", text)
    return Option(letter, text, start, stop)


def _by_letter(text: str, options: tuple[Option, ...]) -> Option | None:
    letters = {option.letter: option for option in options if option.letter}
    chosen = {
        match["letter"].upper()
        for match in _CHOSEN.finditer(text)
        if match["letter"].upper() in letters and not _is_article(match, text)
    }
    return letters[chosen.pop()] if len(chosen) == 1 else None


def _is_article(match: re.Match[str], text: str) -> bool:
    """Whether an "a" or "I" is a word of the sentence: "A nodule is seen", "I see a nodule"."""
    following = text[match.end("letter") :]
    return match["letter"] in "AaI" and re.match(r"\s+\w", following) is not None


def _by_text(text: str, options: tuple[Option, ...]) -> Option | None:
    words = _words(text)
    if not words:
        return None
    exact = [option for option in options if _words(option.text) == words]
    if exact:
        return exact[0] if len(exact) == 1 else None
    joined = f" {' '.join(words)} "
    named = [o for o in options if _words(o.text) and f" {' '.join(_words(o.text))} " in joined]
    # of "effusion" and "pleural effusion" the longer one is meant
    longest = [
        o
        for o in named
        if not any(
            o is not p and f" {' '.join(_words(o.text))} " in f" {' '.join(_words(p.text))} "
            for p in named
        )
    ]
    if len(longest) != 1 or re.search(r"\b(?:not|no|without|nor)\b|n['’]t\b", text, re.IGNORECASE):
        return None
    return longest[0]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in phrase_words(text) if word not in _ARTICLES)
