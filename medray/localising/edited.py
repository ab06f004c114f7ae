"""Which of the regions found belongs to an edit: a pair about the heart hides the heart only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medray.editing.language.text import sentences
from medray.editing.ontology.lexicon import ontology
from medray.imaging.corruption import found_regions
from medray.localising.concepts import mentioned
from medray.records import Region, Span


def edited_regions(
    regions: Sequence[Region], question: str, sides: Iterable[tuple[str, Sequence[Span]]]
) -> tuple[Region, ...]:
    """The regions found for what the edited sentences are about; all if these name no finding.

    None if they are about something that was not found: to hide something else would teach that
    the edit depends on it. `sides`: (text, edited spans) of both sides of the pair. Regions that no
    localiser found stay.
    """
    found = found_regions(regions)
    names: set[str] = set()
    for text, spans in sides if found else ():
        for sentence in _touched(text, spans):
            names |= mentioned(sentence, question)
    if not names:
        return tuple(regions)
    return tuple(r for r in regions if r not in found or any(_same(r.label, n) for n in names))


def _same(label: str, name: str) -> bool:
    """Whether what was looked for as `label` may be what a text calls `name`."""
    findings = ontology().findings
    if label in findings and name in findings:
        return ontology().compatible(label, name)
    return label == name


def _touched(text: str, spans: Sequence[Span]) -> list[str]:
    """The sentences that spans touch."""
    bounds = [(words[0].start, words[-1].end) for words in sentences(text)]
    return [
        text[start:end]
        for start, end in bounds
        if any(span.start <= end and start <= span.end for span in spans)
    ]
