"""FiRe-MPO: minimal edits, with the changed phrases of both sides between <mask> and </mask>.

{"id", "qid", "prompt", "chosen", "rejected", "was_correct", "image_path",
 "rejected_image_path"}      the last is optional
"""

from __future__ import annotations

import re
from typing import Any

from medray.data.pairs.base import Origin, PreferencePair, Spans, answer_text, question_words
from medray.data.rows import FieldError, optional

TAG = re.compile(r"</?mask>")


def read_fire_mpo(row: dict[str, Any], number: int, origin: Origin) -> PreferencePair:
    """A row of a FiRe-MPO file. Raises FieldError."""
    chosen, chosen_spans = unmask(answer_text(row.get("chosen"), "chosen"), "chosen")
    rejected, rejected_spans = unmask(answer_text(row.get("rejected"), "rejected"), "rejected")
    correct = row.get("was_correct")
    if correct is not None and not isinstance(correct, bool):
        raise FieldError("was_correct", "is not true or false")
    image, digest = origin.image(row.get("image_path"), "image_path")
    rejected_image = row.get("rejected_image_path")
    return PreferencePair(
        pair_id=optional(row, "id") or optional(row, "qid") or str(number),
        image=image,
        image_sha256=digest,
        rejected_image=(
            origin.image(rejected_image, "rejected_image_path")[0] if rejected_image else ""
        ),
        question=question_words(row.get("prompt"), "prompt"),
        chosen=chosen,
        rejected=rejected,
        chosen_spans=chosen_spans,
        rejected_spans=rejected_spans,
        response_was_correct=correct,
        source=optional(row, "source") or "fire-mpo",
        licence=optional(row, "licence") or origin.licence,
    )


def unmask(text: str, field: str) -> tuple[str, Spans]:
    """The text without <mask> tags, and the spans of the marked phrases. Raises FieldError.

    >>> unmask("The <mask>left</mask> lung.", "chosen")
    ('The left lung.', ((4, 8),))
    """
    plain, spans, position, start = "", [], 0, -1
    for tag in TAG.finditer(text):
        plain += text[position : tag.start()]
        position = tag.end()
        opens = tag.group() == "<mask>"
        if opens == (start >= 0):
            raise FieldError(field, "has <mask> and </mask> out of order")
        if not opens:
            spans.append((start, len(plain)))
        start = len(plain) if opens else -1
    if start >= 0:
        raise FieldError(field, "has a <mask> that is not closed")
    return plain + text[position:], tuple(spans)
