"""The sections of a report: headings are structure, and some sections are not about this image.

``FINDINGS:`` asserts no finding; ``HISTORY: pneumonia`` says nothing of what the image shows.
"""

from __future__ import annotations

import functools
import re

from medray.editing.ontology.lexicon import ontology

_SENTENCE = re.compile(r"[^.!?\n]*[.!?](?=\s+\S)")
_OF_THE_IMAGE = re.compile(
    r"[\s*_#]*(?:technique|comparisons?|examination|exam|exam\s+type|study|study\s+type|views|"
    r"procedure|protocol|date)[\s*_]*:",
    re.IGNORECASE,
)
_BLANK_LINE = re.compile(r"\n\s*\n")


def headings(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) of each heading with its colon; kind is "asserted" or "context".

    >>> headings("FINDINGS: Clear lungs.")
    [(0, 9, 'asserted')]
    """
    if ":" not in text and "\n" not in text:
        return []
    kinds = _kinds()
    result = []
    for match in _pattern().finditer(text):
        group = "heading" if match["heading"] else "alone"
        name = match["name"] or match["name_alone"]
        result.append((*match.span(group), kinds[" ".join(name.lower().split())]))
    return result


def without_structure(text: str) -> str:
    """The text, as long as before, with line breaks in place of its headings and of the sections
    that state nothing about this image.

    >>> without_structure("CT: yes. Result: no") == "CT: yes. " + "\\n" * 7 + " no"
    True
    """
    found = headings(text)
    if not found:
        return text
    parts, position = [], 0
    for index, (start, end, kind) in enumerate(found):
        stop = end
        if kind == "context":
            stop = found[index + 1][0] if index + 1 < len(found) else len(text)
            blank = _BLANK_LINE.search(text, end, stop)
            stop = blank.start() if blank and text[end : blank.start()].strip() else stop
            if _OF_THE_IMAGE.match(text, start) and all(k == "context" for *_, k in found):
                first = _SENTENCE.match(text, end, stop)  # "Comparison: None. The heart is large."
                stop = first.end() if first else stop
        parts += [text[position:start], "\n" * (stop - start)]
        position = stop
    return "".join([*parts, text[position:]])


@functools.cache
def _kinds() -> dict[str, str]:
    language = ontology().language["headings"]
    return {name: kind for kind, names in language.items() for name in names}


@functools.cache
def _pattern() -> re.Pattern[str]:
    """A name at the start of a line or after a sentence, with a colon or alone in its line."""
    longest = sorted(_kinds(), key=len, reverse=True)
    names = "|".join(r"\s+".join(map(re.escape, name.split())) for name in longest)
    line, mark = r"(?:\A|(?<=\n))[ \t]*", r"[*_#]{0,4}"
    sentence = r"(?:(?<=[.!?;]\s)|(?<=[.!?;]\s\s))"
    name = rf"{mark}[ \t]?(?:\d+[.)][ \t]*)?{mark}(?P<name>{names})[ \t]?{mark}"
    return re.compile(
        rf"(?:{line}|{sentence})(?P<heading>{name}:{mark})"
        rf"|{line}(?P<alone>{name.replace('name>', 'name_alone>')})(?=[ \t]*\n)",
        re.IGNORECASE,
    )
