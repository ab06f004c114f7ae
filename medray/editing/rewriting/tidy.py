"""From the changes of single values to a sentence that stands: lists, explanations, articles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medray.editing.base import Replacement, arrange
from medray.editing.clauses import dependent
from medray.editing.language.grammar import fix_articles
from medray.editing.lists import one_of_list


def tidied(
    text: str, start: int, end: int, replacements: Sequence[Replacement], kept: Sequence[int] = ()
) -> tuple[Replacement, ...]:
    """The changes of the sentence text[start:end], with what they take along: the other items of
    a list that becomes one thing, the clauses that explain what is replaced, the articles.

    `kept` are the positions of what is right.
    """
    changes = one_of_list(text, start, end, arrange(text, replacements), kept)
    changes = _without_explanations(text, end, changes)
    return arrange(text, fix_articles(text, changes))


def _without_explanations(
    text: str, end: int, changes: Sequence[Replacement]
) -> tuple[Replacement, ...]:
    """Each change with the clauses of its sentence that lean on it cut."""
    cut: list[Replacement] = []
    reached = 0
    for number, item in enumerate(changes):
        if item.start < reached:
            continue
        stop = changes[number + 1].start if number + 1 < len(changes) else end
        position = item.end
        found = dependent(
            text, position, end, item.error_type, text[item.start : item.end], item.text
        )
        removals: list[tuple[int, int]] = []
        while found is not None and found[0] < max(stop, position) and found[1] > position:
            removals.append(found)
            position = found[1]
            stop = next((c.start for c in changes if c.start >= position), end)
            found = dependent(
                text, position, end, item.error_type, text[item.start : item.end], item.text
            )
        for removal in removals:
            if removal[0] == item.end:
                item = replace(item, end=removal[1])
            else:
                cut.append(replace(item, start=removal[0], end=removal[1], text=""))
        reached = max([item.end, *(end for _, end in removals)])
        cut.append(item)
    return tuple(cut)
