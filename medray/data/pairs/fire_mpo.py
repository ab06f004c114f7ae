"""FiRe-MPO: minimal edits, the changed phrases of both sides between <mask> and </mask>.

{"id", "qid", "prompt", "chosen", "rejected", "was_correct", "image_path",
 "rejected_image_path"}      the last may be left out
"""

from __future__ import annotations

import re
from typing import Any

from medray.data.pairs.base import Place, PreferencePair, Spans, answer_text, question_words
from medray.data.rows import FieldError, optional

MARK = re.compile(r"</?mask>")


def read_fire_mpo(row: dict[str, Any], number: int, place: Place) -> PreferencePair:
    """A row of a FiRe-MPO file. Raises FieldError."""
    chosen, chosen_spans = unmask(answer_text(row.get("chosen"), "chosen"), "chosen")
    rejected, rejected_spans = unmask(answer_text(row.get("rejected"), "rejected"), "rejected")
    correct = row.get("was_correct")
    if correct is not None and not isinstance(correct, bool):
        raise FieldError("was_correct", "is not true or false")
    image, digest = place.image(row.get("image_path"), "image_path")
    other = row.get("rejected_image_path")
    return PreferencePair(
        pair_id=optional(row, "id") or optional(row, "qid") or str(number),
        image=image,
        image_sha256=digest,
        rejected_image=place.image(other, "rejected_image_path")[0] if other else "",
        question=question_words(row.get("prompt"), "prompt"),
        chosen=chosen,
        rejected=rejected,
        chosen_spans=chosen_spans,
        rejected_spans=rejected_spans,
        response_was_correct=correct,
        source=optional(row, "source") or "fire-mpo",
        licence=optional(row, "licence") or place.licence,
    )


def unmask(text: str, field: str) -> tuple[str, Spans]:
    """The text without its marks, and where the marked phrases then are. Raises FieldError.

    >>> unmask("The <mask>left</mask> lung.", "chosen")
    ('The left lung.', ((4, 8),))
    """
    plain, spans, position, start = "", [], 0, -1
    for mark in MARK.finditer(text):
        plain += text[position : mark.start()]
        position = mark.end()
        opens = mark.group() == "<mask>"
        if opens == (start >= 0):
            raise FieldError(field, "has <mask> and </mask> out of turn")
        if not opens:
            spans.append((start, len(plain)))
        start = len(plain) if opens else -1
    if start >= 0:
        raise FieldError(field, "has a <mask> that is not closed")
    return plain + text[position:], tuple(spans)
