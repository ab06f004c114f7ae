"""Several mentions of one thing: which words are replaced, and which are removed with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medray.editing.base import Change, Replacement
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words

_ASIDE = re.compile(
    r",(?=\s+(?:specifically|which|focusing|including|particularly|especially|showing|containing|revealing|displaying|such|where|with)\b)"
)
_SENTENCE_END = re.compile(r"[.!?;\n](?=\s|$)")


def asides(text: str, mentions: list[Mention]) -> tuple[list[Mention], list[Change]]:
    """The mentions to replace, and the removals of what only explains them.

    "computed tomography (CT)": the bracket; "the chest, specifically the lungs": what follows
    the comma, to the end of its sentence, if it names another value.
    """
    first, kept, removals = mentions[0], mentions[:1], []
    for m in mentions[1:]:
        before = text[kept[-1].end : m.start]
        if m.value == kept[-1].value and before == " (" and text[m.end : m.end + 1] == ")":
            removals.append(Change(kept[-1].end, m.end + 1, ""))
        elif m.value == first.value or m.negated or first.negated:
            kept.append(m)
        elif not any(start <= m.start < end for start, end, _ in removals):
            comma = _ASIDE.search(text, first.end, m.start)
            if comma is None:
                kept.append(m)
                continue
            stop = _SENTENCE_END.search(text, m.end)
            removals.append(Change(comma.start(), stop.start() if stop else len(text), ""))
    return kept, removals


def one_per_word(
    replacements: Sequence[Replacement], wanted: Mapping[str, str]
) -> list[Replacement]:
    """Merges two replacements of the same word into one: "LLL" that should be "RUL".

    `wanted` maps attributes to their new values. If no single word expresses both, both are kept.
    """
    onto = ontology()
    merged: list[Replacement] = []
    for item in replacements:
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
