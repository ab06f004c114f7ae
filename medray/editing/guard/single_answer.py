"""What a reference that says one thing leaves unsaid: places, respects, comments, explanations."""

from __future__ import annotations

import re

from medray.editing.language.negation import n_negations
from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.claims import read
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import judge
from medray.records import EditedSentence

_PART = re.compile(
    r"\b(?:in|at|of|within|along|on|near)\s+(?:the\s+|its\s+)?(?:[\w-]+\s+){0,3}?(?:poles?|cal[iy]x|"
    r"calyces|segments?|tail|apex|base|neck|horn|portion|aspect|wall|lobes?|zones?|quadrant|third|"
    r"margin|cortex|fundus|tip|hilum)\b",
    re.IGNORECASE,
)
_RESPECT = re.compile(
    r"\b(?:not\s+(?:(?:appear|look|seem)\s+)?(?:to\s+be\s+)?(?:normal|enlarged|healthy)|abnormal)\s+in\s+"
    r"(?:\w+\s+and\s+)?(size|shape|position|contour|density|intensity|texture|echotexture|appearance|"
    r"caliber|volume|signal|thickness|outline|morphology|number|location)\b",
    re.IGNORECASE,
)
_COMMENT = re.compile(
    r"\b(?:normal\w*|abnormal\w*|limits?|enlarged|dilated|dilatation|aneurysm\w*|ectatic|borderline|"
    r"thickened|widened|narrowed|stenotic|small|tiny|large|huge)\b",
    re.IGNORECASE,
)
_NORMAL = re.compile(r"\b(?:normal|unremarkable|healthy|intact)\b", re.IGNORECASE)
_NOT = re.compile(r"\b(?:no|not|without|absent)\b(.*)", re.IGNORECASE | re.DOTALL)
_LETTERS = 5  # by which "enhancing" and "enhancement" are one word
_GROWS = re.compile(  # what the other finding does, or has
    r"\b(?:arising|originating|protruding|growing|invading|emanating|infiltrating|displacing|with)\b",
    re.IGNORECASE,
)
_SMALL = frozenset(("the", "its", "in", "at", "of", "within", "along", "on", "near", "a", "an"))


def unstated(known: Facts, sentence: str, edited: EditedSentence) -> bool:
    """Whether a chosen sentence keeps, or gets by the edit, what question and reference do not
    say: the place of a finding with another name, in which respect something is not normal, or a
    comment on a number."""
    stated = set(phrase_words(f"{known.question} {known.reference.text}"))
    respect = _RESPECT.search(edited.text)
    if respect and respect[1].lower() not in stated and not n_negations(sentence):
        return True
    types = {span.error_type for span in edited.text_spans}
    turned = known.word is True and n_negations(edited.text) < n_negations(sentence)
    normal = _NORMAL.search(edited.text) if turned else None
    if normal is not None and normal.group().lower() not in stated:
        return True
    if "size" in types and not known.report:
        changed = [(s.start, s.end) for s in edited.text_spans]
        comments = (
            m
            for m in _COMMENT.finditer(edited.text)
            if not any(first <= m.start() < last for first, last in changed)
        )
        if any(m.group().lower() not in stated for m in comments):
            return True
    if "kind" not in types or known.report:
        return False
    behind = min(s.end for s in edited.text_spans if s.error_type == "kind")
    grows = _GROWS.search(edited.text, behind)
    if grows is not None and grows.group().lower() not in stated:
        return True
    part = _PART.search(edited.text, behind)
    return part is not None and not set(phrase_words(part.group())) - _SMALL <= stated


def denies_asked(known: Facts, sentence: str) -> bool:
    """Whether a sentence called right denies what a yes confirms: "no ring enhancement", to "Is it
    ring-enhancing?"."""
    denied = _NOT.search(sentence) if known.word is True else None
    if denied is None or _NOT.search(known.question):
        return False
    sought = [word[:_LETTERS] for word in phrase_words(known.question) if len(word) >= _LETTERS]
    return bool(sought) and sought[-1] in {word[:_LETTERS] for word in phrase_words(denied[1])}


def takes_up(known: Facts, prefix: str, edited: EditedSentence) -> bool:
    """Whether a sentence gives what a question asks for behind a prefix that gives it wrongly:
    "The effusion is on the left side. The right angle is blunted." """
    if known.report or not re.search(r"\w", prefix) or not read(prefix).n_words:
        return False
    types = {span.error_type for span in edited.text_spans}
    wrong = {c.error_type for c in judge(prefix, known).conflicts}
    return bool(types & wrong & {"side", "zone", "organ", "plane", "modality", "size", "count"})
