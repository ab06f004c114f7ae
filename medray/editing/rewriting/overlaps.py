"""Several mentions of one thing: which words are replaced, and which go with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medray.editing.base import Replacement
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words

Place = tuple[int, int, str]

_ASIDE = re.compile(r",(?=\s+(?:specifically|which|focusing|including|particularly|especially)\b)")
_SENTENCE_END = re.compile(r"[.!?;\n](?=\s|$)")


def asides(text: str, said: list[Mention]) -> tuple[list[Mention], list[Place]]:
    """The mentions that are to be replaced, and what only explains them and goes with them.

    "computed tomography (CT)": the bracket; "the chest, specifically the lungs": what follows
    the comma, to the end of its sentence, where it names another value.
    """
    first, kept, places = said[0], said[:1], []
    for m in said[1:]:
        before = text[kept[-1].end : m.start]
        if m.value == kept[-1].value and before == " (" and text[m.end : m.end + 1] == ")":
            places.append((kept[-1].end, m.end + 1, ""))
        elif m.value == first.value or m.negated or first.negated:
            kept.append(m)
        elif not any(start <= m.start < end for start, end, _ in places):
            comma = _ASIDE.search(text, first.end, m.start)
            if comma is None:
                kept.append(m)
                continue
            stop = _SENTENCE_END.search(text, m.end)
            places.append((comma.start(), stop.start() if stop else len(text), ""))
    return kept, places


def one_per_word(found: Sequence[Replacement], wanted: Mapping[str, str]) -> list[Replacement]:
    """One replacement for two of the same word: "LLL" that should be "RUL".

    `wanted` is the value to come by attribute. Two that no one word says are both kept.
    """
    onto = ontology()
    merged: list[Replacement] = []
    for item in found:
        twin = next((m for m in merged if (m.start, m.end) == (item.start, item.end)), None)
        if twin is None or twin.start == twin.end:
            merged.append(item)
            continue
        for entry in onto.entries.get(phrase_words(twin.text), ()):
            value = wanted.get(entry.attribute, entry.value)
            if entry.value != value:
                new = onto.attributes[entry.attribute].forms[value].get(entry.form, item.text)
                merged[merged.index(twin)] = replace(twin, text=new)
                break
    return merged
