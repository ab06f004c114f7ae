"""Whether a sentence is one of the wordings about a chest, letter by letter."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import cache
from itertools import chain

from medray.phantom.paragraphs import questions, wording
from medray.phantom.paragraphs.truth import WITH_DENSITY, ChestTruth

_PLAIN = ("side", "zone", "size", "density")


def is_worded(sentence: str) -> bool:
    """Whether a sentence is one of the wordings, behind a yes or no or not, letter by letter."""
    return any(pattern.fullmatch(sentence.strip()) for pattern in _patterns())


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    values = ChestTruth.values
    kinds = "|".join((*WITH_DENSITY, "cavity", "pleural effusion"))
    fields = {name: f"(?:{'|'.join(values[name])})" for name in _PLAIN}
    fields |= dict.fromkeys(("device_side", "bones_side"), fields["side"])
    names = "|".join(chain(*wording.DEVICE_NAMES.values()))
    fields |= {
        "device": f"(?:{names})",
        "kind": "(?:nodule|opacity|cavity)",
        "lesion": f"(?:small|large)(?: dense| faint)? (?:{kinds})",
        "Lesion": f"(?:[Ss]mall|[Ll]arge)(?: dense| faint)? (?:{kinds})",
        "Size": "(?:[Ss]mall|[Ll]arge)",
    }
    groups = (wording.HEART, wording.BONES, wording.EXPLANATION, wording.IMPRESSION)
    templates = [text for group in groups for texts in group.values() for text in texts]
    templates += [*wording.FOCAL, *wording.EFFUSION, *wording.CLEAR, *wording.DEVICE]
    templates += [*wording.NO_DEVICE, *wording.ABSENT, *wording.NO_EFFUSION]
    templates += chain(*questions.STATEMENTS.values())
    return tuple(re.compile(_pattern(text, fields)) for text in templates)


def _pattern(template: str, fields: Mapping[str, str]) -> str:
    parts = [
        re.escape(text) + (fields[name] if name else "")
        for text, name, *_ in string.Formatter().parse(template)
    ]
    pattern = "".join(parts)
    begin = f"(?i:{pattern[0]})" if pattern[0].isalpha() else pattern[0]
    return "(?:(?:Yes|No), )?" + begin + pattern[1:]
