"""From the changes of single values to a sentence that stands: lists, explanations, articles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medray.editing.base import Replacement, arrange
from medray.editing.clauses import dependent
from medray.editing.language.grammar import fix_articles, is_plural
from medray.editing.language.negation import n_negations
from medray.editing.lists import one_of_list
from medray.editing.ontology.lexicon import ontology
from medray.editing.sentences import Sentence

_WHICH_IS = re.compile(r",\s+(?:which|that)\s+(is|are)\b")
_ONE, _MANY = ("is",), ("are",)
_BUT = re.compile(r"\bbut\b(?!\s+(?:not|rather|also)\b)", re.IGNORECASE)


def tidied(
    text: str,
    part: Sentence,
    replacements: Sequence[Replacement],
    question: str,
    kept: Sequence[int] = (),
) -> tuple[Replacement, ...]:
    """The changes of one sentence, with what they take along: the other items of a list that
    becomes one thing, the clauses that explain what is replaced, the articles.

    What repeats the `question` stays, and so does a list with one of the positions `kept`.
    """
    changes = one_of_list(text, part.start, part.end, arrange(text, replacements), kept)
    changes = _without_explanations(text, part.end, changes, question)
    changes = _without_contrast(text, part, changes)
    changes = _in_number(text, changes)
    return arrange(text, fix_articles(text, changes))


def _in_number(text: str, changes: Sequence[Replacement]) -> tuple[Replacement, ...]:
    """The changes, and that of the verb of a clause behind an organ of another number: "the heart,
    which is part of", for "the lungs, which are part of"."""
    verbs = []
    for change in changes:
        verb = _WHICH_IS.match(text, change.end)
        if verb is None or change.error_type != "organ" or not change.text:
            continue
        new = _MANY if _are_several(change.text) else _ONE
        if verb[1] not in new:
            verbs.append(replace(change, start=verb.start(1), end=verb.end(1), text=new[0]))
    return arrange(text, [*changes, *verbs])


def _are_several(name: str) -> bool:
    """Whether an organ's name is a plural: "lungs", but not "pons"."""
    forms = ontology().attributes["organ"].forms.values()
    is_one = any(form.get("noun") == name.lower().removeprefix("the ") for form in forms)
    return " and " in name or (is_plural(name) and not is_one)


def _without_contrast(
    text: str, part: Sentence, changes: Sequence[Replacement]
) -> tuple[Replacement, ...]:
    """The changes of a sentence; if one turns the clause next to a "but" into its opposite, nothing
    is contrasted any more, and an "and" stands in its place."""
    turned = [c for c in changes if n_negations(text[c.start : c.end]) != n_negations(c.text)]
    buts = list(_BUT.finditer(text, part.start, part.end))
    if len(turned) != 1 or len(buts) != 1 or len(changes) != 1:
        return tuple(changes)
    (but,), (change,) = buts, turned
    if change.start < but.end() and but.start() < change.end:
        return tuple(changes)  # it is replaced already
    joined = replace(change, start=but.start(), end=but.end(), text="and")
    return arrange(text, [*changes, joined])


def _without_explanations(
    text: str, end: int, changes: Sequence[Replacement], question: str
) -> tuple[Replacement, ...]:
    """Each change with the clauses of its sentence that lean on it cut."""
    cut: list[Replacement] = []
    reached = 0
    for number, item in enumerate(changes):
        if item.start < reached:
            continue
        stop = changes[number + 1].start if number + 1 < len(changes) else end
        position = item.end
        removals: list[tuple[int, int]] = []
        while (found := _leaning(text, position, end, item, question)) is not None:
            if found[0] >= max(stop, position) or found[1] <= position:
                break
            removals.append(found)
            position = found[1]
            stop = next((c.start for c in changes if c.start >= position), end)
        for removal in removals:
            if removal[0] == item.end:
                item = replace(item, end=removal[1])
            else:
                cut.append(replace(item, start=removal[0], end=removal[1], text=""))
        reached = max([item.end, *(last for _, last in removals)])
        cut.append(item)
    return tuple(cut)


def _leaning(
    text: str, position: int, end: int, item: Replacement, question: str
) -> tuple[int, int] | None:
    removed = text[item.start : item.end]
    return dependent(text, position, end, item.error_type, removed, item.text, question)
