"""Whether an edit turned a sentence into something that is none."""

from __future__ import annotations

import re

from medray.editing.base import edit_fraction
from medray.editing.guard import leftovers
from medray.editing.ontology.lexicon import phrase_words
from medray.records import EditedSentence

_VERB = re.compile(
    r"\b(?:is|are|was|were|be|has|have|had|show|shows|appears?|demonstrates?|reveals?|contains?|"
    r"includes?|depicts?|displays?|indicates?|suggests?|belongs?|represents?|seems?|looks?|remains?|"
    r"can|could|will|would|may|causes?|exists?|does|do|did|measures?|lies|extends?|involves?|uses?|used|seen|noted|provides?|points?|\w+ed)\b",
    re.IGNORECASE,
)
SMALL = frozenset(("a", "an", "the", "is", "are", "in", "of", "on"))
_SMALL_WORDS = SMALL | frozenset(("there", "no", "and", "with", "seen", "was", "were"))
_FINITE = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|appears?|demonstrates?|can|will|should|remains?|reveals?|"
    r"seems?|looks?|contains?|includes?|lies|measures?|points?)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    rf"{_FINITE.pattern}|\b(?:seen|noted|identified|present|visible|visualized|belongs?|includes?|"
    r"uses?|used|involves?|indicates?|suggests?|represents?|depicts?|displays?|provides?|extends?|"
    r"causes?|exists?|does|do|did|could|would|may|be|been|had|\w+(?<!group)ed\s+(?:in|by|on|at|with|as|to|from))\b",
    re.IGNORECASE,
)
_MEASURES = re.compile(
    r"\W*(?:treat|pay|keep|stop|avoid|take|use|maintain|consider|strengthen|eat|exercise|do|get)\b",
    re.IGNORECASE,
)
_REPLACED = 0.85  # a larger fraction of new words is another text
_SENTENCE_WORDS = 6  # from here on, an answer without a verb is a loss of style


def style_lost(sentence: str, edited: EditedSentence, verdict: str, *, behind: bool) -> bool:
    """Whether a sentence became a bare phrase, or gave way to a text of no sentence at all."""
    if verdict == "right" and _FINITE.search(sentence) and not _VERB.search(edited.text):
        return True
    words = set(phrase_words(sentence)) & set(phrase_words(edited.text)) - _SMALL_WORDS
    if verdict == "right" and leftovers.gives_up_more(sentence, words):
        return True
    stated = _STATES if len(sentence.split()) >= _SENTENCE_WORDS else _VERB if behind else None
    if stated is not None and _FINITE.search(sentence) and not stated.search(edited.text):
        return True  # a bare phrase in place of a sentence
    if len(sentence.split()) < _SENTENCE_WORDS or not _VERB.search(sentence):
        return False
    text = edited.text
    shared = set(phrase_words(sentence)) & set(phrase_words(text)) - SMALL
    if edit_fraction(text, edited.text_spans) > _REPLACED:
        return not _FINITE.search(text) or _MEASURES.match(text) is not None
    return not _VERB.search(text) and len(shared) < len(set(phrase_words(sentence))) / 3
