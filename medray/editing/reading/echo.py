"""An answer that states its closed question, or denies it: a yes or a no without the word.

Was oral contrast administered?      "Oral contrast was not administered for this study."
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medray.editing.language.sections import without_structure
from medray.editing.language.text import Word, sentences, stem
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.compare import Comparison

_NOT = re.compile(
    r"\b(?:no|not|nor|neither|never|none|without|absent|absence|lacks?|lacking|fails?|negative|"
    r"free\s+of|cannot|excluded?|ruled\s+out|resolved)\b|n['’]t\b",
    re.IGNORECASE,
)
_MANY = re.compile(
    r"\b(?:only|except|but|however|although|though|rather|instead|other|unless|partly|partially|"
    r"if|whether|unlike|opposite|less|almost|nearly|possibly|question|asked|or)\b|\?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Echo:
    """The yes or no that the sentence [start, end) of a text stands for."""

    word: bool
    start: int
    end: int


def echo(question: str, text: str) -> Echo | None:
    """The yes or no of a text that states or denies its question; None if it does neither."""
    asked_for = _content(question)
    if not asked_for:
        return None
    found = [
        e for words in sentences(without_structure(text)) if (e := _in(words, text, asked_for))
    ]
    return found[0] if found and len({e.word for e in found}) == 1 else None


def compare_echo(question: str, word: bool | None, text: str) -> list[Comparison]:
    """Compares an answer that states or denies its question with the known yes or no."""
    found = echo(question, text) if word is not None else None
    if found is None:
        return []
    return [Comparison(found.word == word, "echo", "presence", span=(found.start, found.end))]


def _in(words: Sequence[Word], text: str, asked_for: tuple[str, ...]) -> Echo | None:
    """The echo in one sentence: all that is asked for, in its order, in one clause."""
    clauses = list(_clauses(words))
    clause = next((c for c in clauses if set(asked_for) <= {stem(w.text) for w in c}), None)
    if clause is None:
        return None
    start, end = clause[0].start, clause[-1].end
    part = text[start:end]
    stems = [stem(w.text) for w in clause]
    extra = [s for s in stems if s not in asked_for and s not in _fillers()]
    denials = len(_NOT.findall(part))
    relative = stems[0] in ("which", "that", "who", "where")
    denied_before = _NOT.search(text, words[0].start, start)
    if relative or denied_before or _MANY.search(part) or _hedge().search(part) or denials > 1:
        return None
    if denials:
        return Echo(False, start, end) if not _content_of(extra) else None
    in_order = [s for s in stems if s in asked_for]
    if tuple(dict.fromkeys(in_order)) != asked_for or set(extra) & _reversing():
        return None
    return Echo(True, start, end)


def _clauses(words: Sequence[Word]) -> Iterator[list[Word]]:
    clause: list[Word] = []
    for word in words:
        if word.after_comma and clause:
            yield clause
            clause = []
        clause.append(word)
    if clause:
        yield clause


def _content_of(extra: Sequence[str]) -> list[str]:
    """The words that a denial adds to its question, without those that only deny."""
    cut_short = ("t", "isn", "aren", "wasn", "weren", "doesn", "didn", "hasn", "of", "lack", "fail")
    return [s for s in extra if s not in cut_short and not _NOT.search(s)]


@functools.lru_cache(maxsize=4096)
def _content(question: str) -> tuple[str, ...]:
    """The stems of what a closed question asks to confirm, in its order; () for other questions."""
    parts = sentences(question)
    if not parts:
        return ()
    words = [w.text for w in parts[-1]]
    asks = {w.text for i, w in enumerate(parts[-1]) if i == 0 or w.after_comma}
    closed = set(ontology().language["questions"]["closed"])
    if not asks & closed or "or" in words or _NOT.search(question):
        return ()
    content = [stem(word) for word in words]
    return tuple(dict.fromkeys(s for s in content if s not in _fillers()))


@functools.cache
def _fillers() -> frozenset[str]:
    language = ontology().language
    words = (*language["question_words"], *language["fillers"], *language["study_words"])
    return frozenset(stem(word) for word in words)


@functools.cache
def _reversing() -> frozenset[str]:
    """Words that make an echo something else: the other side, the opposite of a word."""
    pairs = ontology().language["opposites"]
    words = ["left", "right", "bilateral", "unilateral", "upper", "lower", "minimal", "mild"]
    return frozenset(stem(word) for word in (*words, *(w for pair in pairs for w in pair)))


@functools.cache
def _hedge() -> re.Pattern[str]:
    hedges = "|".join(map(re.escape, ontology().language["open"]))
    return re.compile(rf"\b(?:{hedges})\b", re.IGNORECASE)
