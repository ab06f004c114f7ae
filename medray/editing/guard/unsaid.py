"""What a corrected answer says beside its correction: question or reference have to say it, too.

An answer argues for its value, describes it, and says where else it lies. Whoever replaces the
value and leaves the rest makes a sentence that nobody ever checked: "a hyperintense lesion,
reflecting its high cellularity". Of reports, `unknown` asks the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from medray.editing.guard.unknown import LETTERS, denials, keys
from medray.editing.language.grammar import plain_stems
from medray.editing.language.text import Mention, mentions, sentences, stem
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import read
from medray.editing.reading.facts import Facts
from medray.records import Span

_FRAME = ("modality", "plane", "sequence")  # of the image, which other rules compare
_ORDERS = (  # "the largest" is the biggest
    frozenset(phrase_words("big bigger biggest large larger largest great greater greatest")),
    frozenset(phrase_words("small smaller smallest little less least")),
)
_BOTH = ("side", "both")
_DENIALS = frozenset(phrase_words("none neither cannot nothing nor without"))
_NOT = re.compile(r"\b(?:no|not|without)\b", re.IGNORECASE)
_OF = re.compile(
    r"\W*(?:\w+\W+)?(?:which\s+(?:is|lies)\s+)?(?:of|in|within|inside)\s+(?:the\s+)?(?:\w+\s+)?",
    re.IGNORECASE,
)


def first_unsaid(known: Facts, chosen: str, spans: Sequence[Span]) -> int | None:
    """Where a sentence first says, outside its corrected `spans`, what neither question nor
    reference does; None if it nowhere does. Of a sentence about a report, only where a side or a
    zone is: of its other words, `unknown` asks."""
    named = {
        (m.attribute, m.value) for m in (*_named(known.question), *_named(known.reference.text))
    }
    denied = denials(read(chosen))
    found = sorted([*_places(chosen, spans, named), *_words(known, chosen, spans, named)])
    return next((at for at in found if not any(a <= at < b for a, b in denied)), None)


def _places(text: str, spans: Sequence[Span], named: set[tuple[str, str]]) -> Iterator[int]:
    both = _BOTH in named
    for m in _named(text):
        if m.attribute not in ("side", "zone") or (m.attribute, m.value) in named:
            continue
        inside = any(span.start <= m.start < span.end for span in spans)
        denied = _NOT.search(text, 0, m.start) is not None
        if not inside and not denied and not (both and m.attribute == "side"):
            yield m.start


def _words(
    known: Facts, text: str, spans: Sequence[Span], named: set[tuple[str, str]]
) -> Iterator[int]:
    if known.report:
        return
    stated = _stated(f"{known.question}\n{known.reference.text}")
    if sum(span.error_type == "side" for span in spans) > 1:
        stated.add("clear")  # a sentence about both sides, mirrored
    yield from _unsaid(text, spans, stated, named)


def _named(text: str) -> list[Mention]:
    return [m for words in sentences(text) for m in mentions(text, words, ontology())]


def _stated(text: str) -> set[str]:
    """What the words of question and reference have in common with others that say the same."""
    words = {word.text for part in sentences(text) for word in part}
    if "abnormal" in words:
        words.add("normal")
    words |= {other for order in _ORDERS if order & words for other in order}
    return {key for word in words for key in keys(word)}


def _unsaid(
    text: str, spans: Sequence[Span], stated: set[str], named: set[tuple[str, str]]
) -> Iterator[int]:
    for words in sentences(text):
        frame = {
            i
            for m in mentions(text, words, ontology())
            if (m.attribute, m.value) in named or _is_frame(m, text, spans)
            for i in range(m.first, m.last + 1)
        }
        for index, word in enumerate(words):
            short = len(word.text) < LETTERS and not any(map(str.isdigit, word.text))
            inside = any(span.start <= word.start < span.end for span in spans)
            if short or inside or index in frame or word.text in _DENIALS:
                continue
            if stem(word.text) not in _neutral() and not keys(word.text) & stated:
                yield word.start


def _is_frame(mention: Mention, text: str, spans: Sequence[Span]) -> bool:
    """Whether a phrase only says what kind of image it is, of which region of the body."""
    changed = {span.error_type for span in spans}
    if mention.attribute in _FRAME:
        return mention.attribute not in changed
    if mention.attribute != "organ":
        return False
    if changed and changed <= {*_FRAME}:
        return True
    language = ontology().language
    if mention.value not in (*language["general_organs"], *language["slots"]["regions"]):
        return False
    behind = (text[span.end : mention.start] for span in spans)
    return "organ" not in changed or any(_OF.fullmatch(between) for between in behind)


@functools.cache
def _neutral() -> frozenset[str]:
    """The stems of words that add nothing to an answer."""
    slots = ontology().language["slots"]
    words = (*slots["plain"], *slots["frame"])
    return plain_stems() | {stem(part) for word in words for part in word.split()}
