"""Small changes to English: letter case, articles, and the phrases for the state of the heart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medray.editing.base import Change, Replacement
from medray.editing.ontology.lexicon import ontology


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
    if all_capitals and len(letters) > 4:
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() and not all_capitals else new


def lower_first(text: str) -> str:
    """The text with a lower-case initial, unless its first word is an acronym or a code."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    plain = first[1:].islower() or len(first) == 1
    return text[:1].lower() + text[1:] if plain and first != "I" else text


def article(following: str) -> str:
    """ "a" or "an", by the sound of the following word.

    >>> article("opacity"), article("nodule"), article("8 cm mass"), article("MRI")
    ('an', 'a', 'an', 'an')
    """
    word = following.strip().split(maxsplit=1)[0] if following.strip() else ""
    if re.match(r"(8|11\b|18\b)", word):
        return "an"
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
                new = match_case(match.group(2), "no") + " " + lower_first(match.group(2))
                return Change(start + match.start(2), start + match.end(2), new)
    for phrase, new in heart["to_" + value].items():
        pattern = r"\b" + phrase.replace(" ", r"[\s-]+") + r"\b"
        if match := re.search(pattern, clause, re.IGNORECASE):
            if value == "normal" and new == "normal in size" and _plain(clause):
                new = heart["plain_normal"]
            return Change(
                start + match.start(), start + match.end(), match_case(match.group(), new)
            )
    return None


def _plain(clause: str) -> bool:
    return len(clause.split()) == 1 or re.search(r"\bsize\b", clause, re.IGNORECASE) is not None
