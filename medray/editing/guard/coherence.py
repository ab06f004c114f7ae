"""Whether a sentence agrees with itself and repeats nothing."""

from __future__ import annotations

import re
from collections import Counter

from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.claims import ParsedText

_SMALL_WORDS = frozenset(
    phrase_words(
        "a an the of in on at to is are was were and or with by for from this that it as be no "
        "not there which left right image"
    )
)
_PHRASE = 3  # words of a phrase that is not said twice
_YES = re.compile(r"\W*yes\b", re.IGNORECASE)
_NO = re.compile(r"\W*no\b(?=\s*[,.;:!-]|\s+(?:the|there|it|this|that|these)\b)", re.IGNORECASE)
_WITHOUT = re.compile(r"\b(?:without|with\s+no)\s+(.+)", re.IGNORECASE | re.DOTALL)
_DENIES = re.compile(r"\b(?:no|not|without|absent|absence|neither|never)\b|n['’]t\b", re.IGNORECASE)


def repeats(prefix: str, text: str, sampled: str) -> bool:
    """Whether a text says a phrase twice, or a sentence of its prefix again, and `sampled` not."""
    words = phrase_words(text)
    content = [word for word in words if word not in _SMALL_WORDS]
    if len(set(content)) == len(content) and not prefix:
        return False
    before = phrase_words(sampled)
    for length in (2, _PHRASE):
        ours, theirs = _phrases(words, length), _phrases(before, length)
        if any(n > 1 and n > theirs[phrase] for phrase, n in ours.items()):
            return True
    listed, listed_before = _items(text), _items(sampled)
    if any(n > 1 and n > listed_before[item] for item, n in listed.items()):
        return True
    in_prefix = _phrases(phrase_words(prefix), _PHRASE)
    if set(_phrases(words, _PHRASE)) & set(in_prefix) - set(_phrases(before, _PHRASE)):
        return True
    joined, earlier = " ".join(words), " ".join(phrase_words(prefix))
    return len(words) > 1 and f" {joined} " in f" {earlier} " and joined != " ".join(before)


def contradicts_itself(text: str, parsed: ParsedText, sampled: ParsedText) -> bool:
    """Whether a text asserts and denies one thing, and the sampled one does not."""
    if _keeps_no(text, sampled.text):
        return True
    return bool(_both(text, parsed) - _both(sampled.text, sampled))


def _keeps_no(text: str, sampled: str) -> bool:
    """Whether a denial behind a "No" became an assertion, and the "No" stays."""
    texts = (text, sampled)
    matches = [_NO.match(t) for t in texts]
    denied = [
        m is not None and _denies_first(t[m.end() :]) for m, t in zip(matches, texts, strict=True)
    ]
    return all(matches) and denied == [False, True]


def _both(text: str, parsed: ParsedText) -> set[tuple[str, str]]:
    """What a text both asserts and denies: a value, a finding, its own yes or no."""
    found: set[tuple[str, str]] = set()
    mentions = [m for s in parsed.statements if s.polarity for m in s.details]
    for group in (mentions, list(parsed.study)):
        asserted = {(m.attribute, m.value) for m in group if not m.negated}
        found |= asserted & {(m.attribute, m.value) for m in group if m.negated}
    heads = [(s.head.value, s.polarity) for s in parsed.statements if s.head]
    found |= {("presence", value) for value, polarity in heads if (value, not polarity) in heads}
    if _denies_its_own(text):
        found.add(("word", "without"))
    if _YES.match(text) and _denies_first(text):
        found.add(("word", "yes"))
    return found


def _denies_its_own(text: str) -> bool:
    """ "an enlarged heart without any signs of enlargement"."""
    match = _WITHOUT.search(text)
    if match is None:
        return False
    stems = {word[:6] for word in phrase_words(match[1]) if len(word) > 5}
    before = {word[:6] for word in phrase_words(text[: match.start()]) if len(word) > 5}
    return bool(stems & before) and not _DENIES.search(text[: match.start()])


def _denies_first(text: str) -> bool:
    """ "Yes, there is no …"."""
    clause = re.split(r",?\s(?:and|but|which|while|with|without)\b", text, maxsplit=1)[0]
    return _DENIES.search(clause) is not None


def _phrases(words: tuple[str, ...], length: int) -> Counter[tuple[str, ...]]:
    grams = (words[i : i + length] for i in range(len(words) - length + 1))
    return Counter(g for g in grams if sum(word not in _SMALL_WORDS for word in g) > 1)


def _items(text: str) -> Counter[str]:
    """The items of a list, without their small words."""
    items = re.split(r",|;|\band\b|\bor\b", text.lower())
    content = (" ".join(w for w in phrase_words(i) if w not in _SMALL_WORDS) for i in items)
    return Counter(item for item in content if item)
