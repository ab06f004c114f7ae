"""Small changes to English: letter case, articles, and the phrases for the state of the heart."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from medray.editing.base import Change, Replacement
from medray.editing.language.text import stem
from medray.editing.ontology.lexicon import ontology, phrase_words

_SMALL_WORDS = (
    "show",
    "shows",
    "seen",
    "there",
    "on",
    "yes",
    "no",
    "and",
    "or",
    "with",
    "for",
    "been",
)

# names of persons, which keep their capital
EPONYMS = frozenset(
    phrase_words(
        "crohn hodgkin alzheimer parkinson huntington meckel wilms kerley bochdalek morgagni "
        "hounsfield doppler virchow robin chiari dandy walker cushing graves paget ewing wegener "
        "kaposi schatzki zenker hirschsprung gram kerley hampton westermark barrett"
    )
)
_OF = ("of", "and", "or", "the", "in", "with", "on", "a", "an")
_MASS_NOUN = re.compile(
    r"(?:cancer|disease|air|pneumo(?:peritoneum|mediastinum|cephalus)|fluid|o?edema|gas|blood|calcium|swelling|atrophy|pneumonia|ascites|contrast|necrosis|"
    r"\w+(?:itis|osis|emia|aemia|megaly|ectasis|plasia|malacia|uria|trophy))$",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"(?:metastasis|stenosis|thrombosis|diagnosis|anastomosis|exostosis)$", re.I)


def takes_no_article(noun: str) -> bool:
    """Whether a noun is a mass noun: "free air", "pancreatitis", but "a metastasis"."""
    return _MASS_NOUN.search(noun) is not None and _COUNTED.search(noun) is None


def is_plural(phrase: str) -> bool:
    """Whether a noun phrase ends in a plural with an "s": "changes", but not "atelectasis"."""
    return re.search(r"(?<![sui])s\W*$", phrase) is not None and not phrase.endswith("ascites")


def match_case(old: str, new: str) -> str:
    """`new` in the case of `old`: capitalised, lower-case, or in capitals for an acronym.

    >>> match_case("Left", "right"), match_case("MRI", "CT"), match_case("mri", "CT")
    ('Right', 'CT', 'ct')
    """
    if not old or not new:
        return new
    letters = [c for c in old if c.isalpha()]
    acronym = new[0].isupper() and not new[1:2].islower()
    all_capitals = len(letters) > 1 and all(c.isupper() for c in letters)
    if acronym:
        known_acronym = old.islower() and len(letters) <= 4
        return new.lower() if known_acronym else new
    if all_capitals and (len(letters) > 4 or old.strip().lower() in ("yes", "no")):
        return new.upper()
    if all_capitals and new.lower() in ("yes", "no"):
        return new.capitalize()  # before an acronym
    return new[:1].upper() + new[1:] if old[:1].isupper() and not all_capitals else new


def lower_first(text: str) -> str:
    """The text with a lower-case initial, unless its first word is an acronym or a code.

    A title loses all its capitals.

    >>> lower_first("Brain Edema"), lower_first("CT Scan"), lower_first("Crohn Disease")
    ('brain edema', 'CT scan', 'Crohn disease')
    """
    words = text.split(" ")
    titled = len(words) > 1 and all(w[:1].isupper() or w in _OF or not w for w in words)
    if not titled:
        return _lower(text)
    return " ".join(_lower(word) for word in words)


def _lower(text: str) -> str:
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    plain = first[1:].islower() or len(first) == 1
    if not plain or first == "I" or first.rstrip(",.").removesuffix("'s").lower() in EPONYMS:
        return text
    return text[:1].lower() + text[1:]


def article(following: str) -> str:
    """ "a" or "an", by the sound of the following word.

    >>> article("opacity"), article("nodule"), article("8 cm mass"), article("MRI")
    ('an', 'a', 'an', 'an')
    """
    word = following.strip().split(maxsplit=1)[0] if following.strip() else ""
    if re.match(r"(8|11\b|18\b)", word):
        return "an"
    if re.match(r"[A-Za-z]-\w", word):
        return "an" if word[0].upper() in "AEFHILMNORSX" else "a"
    if len(word) > 1 and word.isupper():
        return "an" if word[0] in "AEFHILMNORSX" else "a"
    return (
        "an" if word[:1].lower() in tuple("aeiou") and not word.lower().startswith("uni") else "a"
    )


def fix_articles(answer: str, replacements: Sequence[Replacement]) -> list[Replacement]:
    """Extend replacements to the article before them if its form no longer fits."""
    fixed = []
    for item in replacements:
        before = re.search(r"\b(an?)(\s+)$", answer[: item.start], re.IGNORECASE)
        following = item.text + answer[item.end : item.end + 40]
        if before and (needed := article(following)) != before.group(1).lower():
            new = match_case(before.group(1), needed) + before.group(2) + item.text
            item = replace(item, start=before.start(), text=new)
        fixed.append(item)
    return fixed


def trimmed(answer: str, start: int, end: int, new: str) -> Change:
    """The change of [start, end) into `new`, without the words that both begin or end with."""
    old_words, new_words = (re.findall(r"\S+\s*", t) for t in (answer[start:end], new))
    while old_words and new_words and old_words[0].strip() == new_words[0].strip():
        if len(old_words) == 1 or len(new_words) == 1:
            break
        start += len(old_words.pop(0))
        new_words.pop(0)
    while len(old_words) > 1 and len(new_words) > 1 and old_words[-1] == new_words[-1]:
        end -= len(old_words.pop())
        new_words.pop()
    # keep the whitespace before the first common word
    text = "".join(new_words)
    old = answer[start:end]
    tail = old[len(old.rstrip()) :]
    if tail and text.endswith(tail):
        end, text = end - len(tail), text[: len(text) - len(tail)]
    return Change(start, end, text)


_DEGREE = re.compile(  # of an enlargement: goes with it
    r"(?:mildly|moderately|markedly|severely|slightly|grossly|massively|minimally|significantly|top)\s+$",
    re.IGNORECASE,
)
_WORDS = (  # adjectives and the like: no verb, no preposition
    r"(?:(?!(?:is|are|was|were|has|have|shows?|with|and|of|for|there|remains?|suggests?|indicates?|"
    r"demonstrates?|reveals?|to|the|or|but)\b)[\w-]+\s+)*"
)
_DESCRIBED = re.compile(  # what describes an enlargement, or is evidence of it
    rf"\b(?:{_WORDS}(evidence|signs?)\s+of\s+)?{_WORDS}$", re.IGNORECASE
)
_AND_MORE = re.compile(r"\s+(?:and|or)\s+(?:[\w-]+\s+)?[\w-]+\s*(?:[.,;]|$)", re.IGNORECASE)
_SIZE_IS = re.compile(r"\bsize\s+(?:is|was|appears|remains|seems)\s+(?:\w+ly\s+)?$", re.IGNORECASE)


def heart_phrase(answer: str, start: int, end: int, value: str) -> Change | None:
    """The change that gives a heart clause the state `value`; None if it has no known phrase."""
    heart = ontology().language["heart"]
    clause = answer[start:end]
    for finding in heart["finding"]:
        if match := re.search(rf"\b(?:(no)\s+)?({finding})\b", clause, re.IGNORECASE):
            if value == "enlarged" and match.group(1):
                return Change(
                    start + match.start(),
                    start + match.end(),
                    match_case(match.group(1), match.group(2)),
                )
            if value == "normal" and not match.group(1):
                described = _DESCRIBED.search(clause[: match.start(2)])
                first = described.start() if described else match.start(2)
                evidence = f"{described[1].lower()} of " if described and described[1] else ""
                new = match_case(clause[first:], "no") + f" {evidence}{lower_first(match.group(2))}"
                return Change(start + first, start + match.end(2), new)
    for phrase, new in heart["to_" + value].items():
        pattern = r"\b" + phrase.replace(" ", r"[\s-]+") + r"\b"
        if match := re.search(pattern, clause, re.IGNORECASE):
            if value == "normal" and new == "normal in size" and _plain(clause):
                new = heart["plain_normal"]
            if new == "enlarged" and _SIZE_IS.search(clause[: match.start()]):
                new = "increased"  # a heart is enlarged, its size is increased
            if _AND_MORE.match(answer, start + match.end()):
                return None
            degree = _DEGREE.search(clause[: match.start()])
            first = degree.start() if degree else match.start()
            return Change(start + first, start + match.end(), match_case(match.group(), new))
    return None


def _plain(clause: str) -> bool:
    return len(clause.split()) == 1 or re.search(r"\bsize\b", clause, re.IGNORECASE) is not None


def smallest(answer: str, change: Change) -> list[Change]:
    """The words that a change really changes, each run of them as one change.

    >>> smallest("Yes, it is a mass.", Change(0, 17, "No, it is not a mass"))
    [Change(start=0, end=4, text='No,'), Change(start=11, end=11, text='not ')]
    """
    old, new = (re.findall(r"\S+\s*", t) for t in (answer[change.start : change.end], change.text))
    matcher = SequenceMatcher(
        None, [w.strip() for w in old], [w.strip() for w in new], autojunk=False
    )
    starts = [change.start]
    for word in old:
        starts.append(starts[-1] + len(word))
    changes = []
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            continue
        start, end, text = starts[i], starts[j], "".join(new[k:m])
        if text and i < j:
            blank = len(answer[start:end]) - len(answer[start:end].rstrip())
            end, text = end - blank, text.rstrip()
        elif not text and j == len(old) and i > 0:
            start -= len(old[i - 1]) - len(old[i - 1].rstrip())
        elif text and i == len(old):
            start -= len(old[-1]) - len(old[-1].rstrip()) if old else 0
            text = " " + text.rstrip()
            end = start
        changes.append(Change(start, end, text))
    return changes


def content(text: str) -> set[str]:
    """The words of a text that carry its meaning, in a rough base form."""
    return {_base(word) for word in phrase_words(text)} - _small_words()


@functools.cache
def _small_words() -> frozenset[str]:
    language = ontology().language
    words = (*language["question_words"], *language["study_words"], *_SMALL_WORDS)
    return frozenset(_base(str(word)) for word in words)


def _base(word: str) -> str:
    for ending in ("ies", "es", "s", "ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e")


@functools.cache
def plain_stems() -> frozenset[str]:
    """The stems of words that add nothing to what a finding is."""
    language = ontology().language
    lists = (
        *("question_words", "study_words", "verbs", "general_modifiers", "shared_predicate"),
        *("fillers", "connectors", "fresh_start", "side_words", "plain_words"),
    )
    words = [str(word) for name in lists for word in language[name]]
    words += [str(word) for pair in language["main_verbs"].items() for word in pair]
    return frozenset(stem(part) for word in words for part in word.split()) - {"clear"}
