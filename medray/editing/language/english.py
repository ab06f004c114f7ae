"""Whether a text can be read by rules that are written for English.

"Kein Pneumothorax." holds a word that the rules know and a denial that they do not. So a text that
is not English, in whole or in one of its sentences, is not read at all. A text counts as English
unless its script or its words say otherwise: medical Latin, names, units and single words pass.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import yaml

from medray.editing.ontology.lexicon import ontology

_DATA = Path(__file__).parent.parent / "ontology" / "languages.yaml"
_SENTENCE = re.compile(r"[^.!?;:\n\r]+")
_STOP = re.compile(r"[.!?]\s|[\n\r]")
_LIST = re.compile(r"[,/()\[\]]")
_WORD = re.compile(r"[^\W\d_]+")
_ACCENTED = re.compile(
    r"(?![æÆœŒ×÷])[À-ɏḀ-ỿ]"
)  # Latin letters beyond a–z; æ and œ are spellings, not accents
_SYMBOLS = ("GREEK ", "MICRO ", "OHM ", "KELVIN ", "ANGSTROM ", "MODIFIER ", "SCRIPT SMALL L")
_LATIN = ("LATIN ", "FEMININE ORDINAL", "MASCULINE ORDINAL", *_SYMBOLS)
_ACRONYM = 4  # letters; shorter words in capitals are abbreviations, whatever else they spell
_LONG = 7  # letters; shorter words end like those of other languages by chance
_CLAUSE_WORDS = 7  # so many words without a single English one are no English clause
_FUNCTION_WORDS = frozenset(("an", "in", "is", "no", "on", "to", "at", "for", "as", "was", "will"))
_FOREIGN_WORD, _COMMON_WORD = 2, 1
_ENOUGH = 2
LONGEST = 20_000  # characters; ten times a long report, and what is read in seconds
LONGEST_SENTENCE = 1_000  # characters; more than 150 words


@dataclass(frozen=True, slots=True)
class _Languages:
    """`words` of any other language; `common`: of each one, words that English may have too."""

    words: frozenset[str]
    common: tuple[frozenset[str], ...]
    english: frozenset[str]
    vocabulary: frozenset[str]  # of the ontology but abbreviations, and function words
    borrowed: re.Pattern[str]
    endings: tuple[str, ...]


def too_long(*texts: str) -> bool:
    """Whether one of the texts is longer than any answer: the time to read it grows faster."""
    return any(len(text) > LONGEST for text in texts)


def endless(*texts: str) -> bool:
    """Whether a sentence of the texts is longer than any sentence, as where a model repeats itself.

    >>> endless("No nodule. " * 1000), endless("no nodule, " * 1000)
    (False, True)
    """
    long = (text for text in texts if len(text) > LONGEST_SENTENCE)
    return any(len(part) > LONGEST_SENTENCE for text in long for part in _STOP.split(text))


def is_english(text: str) -> bool:
    """Whether every sentence of a text can be read as English; of one that is too long, none.

    >>> is_english("Ménière's disease"), is_english("Kein Pneumothorax."), is_english("左侧")
    (True, False, False)
    """
    return not too_long(text) and _is_english(text)


@functools.lru_cache(maxsize=1 << 14)  # questions and references come again
def _is_english(text: str) -> bool:
    if not text.isascii() and not _latin(text):
        return False
    text = unicodedata.normalize("NFKC", text)
    capitals = text.isupper()
    return not any(_is_foreign(part, capitals) for part in _SENTENCE.findall(text))


def _latin(text: str) -> bool:
    """Whether all letters are Latin, or single ones that are symbols: α, µ, Ω."""
    greek = False
    for character in text:
        letter = not character.isascii() and character.isalpha()
        if letter and not unicodedata.name(character, "").startswith(_LATIN):
            return False
        is_greek = letter and unicodedata.name(character).startswith("GREEK ")
        if greek and is_greek:
            return False  # a word, not a symbol
        greek = is_greek
    return True


def _is_foreign(sentence: str, capitals: bool) -> bool:
    """Whether the words of one sentence are those of another language."""
    data = _languages()
    words = _WORD.findall(data.borrowed.sub(" ", sentence))
    if not capitals:
        words = [w for w in words if not (w.isupper() and len(w) < _ACRONYM and w.isascii())]
    plain = [word.lower() for word in words]
    english = sum(word in data.english for word in plain)
    known = sum(word in data.words for word in plain)
    shared = max(sum(word in common for word in plain) for common in data.common)
    score = _FOREIGN_WORD * known + _COMMON_WORD * shared
    if not english:
        if data.vocabulary.isdisjoint(plain) and _is_clause(sentence):
            return True
        score += sum(map(_accents, words)) + sum(_ends(word, data) for word in plain)
    return score >= _ENOUGH and score > english


def _is_clause(sentence: str) -> bool:
    """Whether a sentence is more than a list of names."""
    return any(len(_WORD.findall(part)) >= _CLAUSE_WORDS for part in _LIST.split(sentence))


def _accents(word: str) -> int:
    """How much accents say against English: a capital may begin a name ("Kümmell")."""
    if not _ACCENTED.search(word):
        return 0
    return _COMMON_WORD if word[0].isupper() else _FOREIGN_WORD


def _ends(word: str, data: _Languages) -> bool:
    return len(word) >= _LONG and word.endswith(data.endings)


@functools.cache
def _languages() -> _Languages:
    data = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    borrowed = sorted(data["borrowed"], key=len, reverse=True)
    phrases = "|".join(re.escape(phrase).replace(r"\ ", r"[\s\-‐‑]+") for phrase in borrowed)
    return _Languages(
        frozenset(word for row in data["languages"].values() for word in row["words"]),
        tuple(frozenset(row["common"]) for row in data["languages"].values()),
        frozenset(data["english"]),
        _FUNCTION_WORDS | {word for phrase in ontology().entries for word in phrase if word[2:]},
        re.compile(rf"(?<!\w)(?:{phrases})(?!\w)", re.IGNORECASE),
        tuple(data["endings"]),
    )
