"""Which of the regions found belongs to an edit: a pair about the heart hides the heart only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medray.editing.language.text import sentences
from medray.imaging.corruption import found_regions
from medray.localising.concepts import mentioned
from medray.records import Region, Span


def edited_regions(
    regions: Sequence[Region], question: str, sides: Iterable[tuple[str, Sequence[Span]]]
) -> tuple[Region, ...]:
    """The regions found for what the edited sentences are about; all if they name none of it.

    `sides`: (text, edited spans) of both sides of the pair. Regions that no localiser found stay.
    """
    found = found_regions(regions)
    if len({region.label for region in found}) < 2:
        return tuple(regions)
    labels: set[str] = set()
    for text, spans in sides:
        for sentence in _touched(text, spans):
            labels |= mentioned(sentence, question)
    if not any(region.label in labels for region in found):
        return tuple(regions)
    return tuple(r for r in regions if r.label in labels or r not in found)


def _touched(text: str, spans: Sequence[Span]) -> list[str]:
    """The sentences that spans touch."""
    bounds = [(words[0].start, words[-1].end) for words in sentences(text)]
    return [
        text[start:end]
        for start, end in bounds
        if any(span.start <= end and start <= span.end for span in spans)
    ]
