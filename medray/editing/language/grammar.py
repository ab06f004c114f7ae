"""Small surgery on English: case, articles, and the phrases that tell the state of the heart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medray.editing.base import Replacement
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
    shouting = len(letters) > 1 and all(c.isupper() for c in letters)
    if acronym:
        known_acronym = old.islower() and len(letters) <= 4
        return new.lower() if known_acronym else new
    if shouting and len(letters) > 4:
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() and not shouting else new


def lower_first(text: str) -> str:
    """Without its capital, unless the first word is an acronym or a code."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    plain = first[1:].islower() or len(first) == 1
    return text[:1].lower() + text[1:] if plain and first != "I" else text


def article(following: str) -> str:
    """ "a" or "an", by the sound of the word that follows.

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
    """Widens replacements to the article before them where its form no longer fits."""
    fixed = []
    for item in replacements:
        before = re.search(r"\b(an?)(\s+)$", answer[: item.start], re.IGNORECASE)
        following = item.text + answer[item.end : item.end + 40]
        if before and (needed := article(following)) != before.group(1).lower():
            new = match_case(before.group(1), needed) + before.group(2) + item.text
            item = replace(item, start=before.start(), text=new)
        fixed.append(item)
    return fixed


def trimmed(answer: str, start: int, end: int, new: str) -> tuple[int, int, str]:
    """The replacement of [start, end) without the words both sides begin and end with."""
    old_words, new_words = (re.findall(r"\S+\s*", t) for t in (answer[start:end], new))
    while old_words and new_words and old_words[0].strip() == new_words[0].strip():
        if len(old_words) == 1 or len(new_words) == 1:
            break
        start += len(old_words.pop(0))
        new_words.pop(0)
    while len(old_words) > 1 and len(new_words) > 1 and old_words[-1] == new_words[-1]:
        end -= len(old_words.pop())
        new_words.pop()
    # the blank before the first common word stays where it is
    text = "".join(new_words)
    kept = answer[start:end]
    tail = kept[len(kept.rstrip()) :]
    if tail and text.endswith(tail):
        end, text = end - len(tail), text[: len(text) - len(tail)]
    return start, end, text


def heart_phrase(answer: str, start: int, end: int, value: str) -> tuple[int, int, str] | None:
    """The phrase of a heart clause that tells its state, and the phrase for the other state."""
    heart = ontology().language["heart"]
    clause = answer[start:end]
    for finding in heart["finding"]:
        if found := re.search(rf"\b(?:(no)\s+)?({finding})\b", clause, re.IGNORECASE):
            if value == "enlarged" and found.group(1):
                return (
                    start + found.start(),
                    start + found.end(),
                    match_case(found.group(1), found.group(2)),
                )
            if value == "normal" and not found.group(1):
                new = match_case(found.group(2), "no") + " " + lower_first(found.group(2))
                return start + found.start(2), start + found.end(2), new
    for phrase, new in heart["to_" + value].items():
        pattern = r"\b" + phrase.replace(" ", r"[\s-]+") + r"\b"
        if found := re.search(pattern, clause, re.IGNORECASE):
            if value == "normal" and new == "normal in size" and _plain(clause):
                new = heart["plain_normal"]
            return start + found.start(), start + found.end(), match_case(found.group(), new)
    return None


def _plain(clause: str) -> bool:
    return len(clause.split()) == 1 or re.search(r"\bsize\b", clause, re.IGNORECASE) is not None
