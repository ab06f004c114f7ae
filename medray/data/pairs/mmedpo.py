"""MMedPO and med-vlm-dpo: two conversations with the same question, in LLaVA-Med's layout.

{"id", "image", "conversations": [{"from": "human", "value": "<image>\\n…"},
 {"from": "gpt", "value": "…"}], "rejected_conversations": […],
 "rejected_image": …, "weighted_score": …}      the last two are optional
"""

from __future__ import annotations

from typing import Any

from medray.data.pairs.base import Origin, PreferencePair, answer_text, question_words, score_of
from medray.data.rows import FieldError, optional


def read_mmedpo(row: dict[str, Any], number: int, origin: Origin) -> PreferencePair:
    """A row of an MMedPO file. Raises FieldError."""
    question, chosen = _exchange(row, "conversations")
    rejected_question, rejected = _exchange(row, "rejected_conversations")
    if rejected_question != question:
        raise FieldError("rejected_conversations", "asks another question than conversations")
    image, digest = origin.image(row.get("image"), "image")
    rejected_image = row.get("rejected_image")
    return PreferencePair(
        pair_id=optional(row, "id") or str(number),
        image=image,
        image_sha256=digest,
        rejected_image=origin.image(rejected_image, "rejected_image")[0] if rejected_image else "",
        question=question,
        chosen=chosen,
        rejected=rejected,
        score=score_of(row.get("weighted_score"), "weighted_score"),
        source=optional(row, "source") or "mmedpo",
        licence=optional(row, "licence") or origin.licence,
    )


def _exchange(row: dict[str, Any], key: str) -> tuple[str, str]:
    """(question, answer) of a conversation of two turns."""
    turns = row.get(key)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise FieldError(key, "is missing" if turns is None else "is not a list of turns")
    if [turn.get("from") for turn in turns] != ["human", "gpt"]:
        raise FieldError(key, "is not one turn of human and one of gpt")
    question = question_words(turns[0].get("value"), f"{key}[0].value")
    return question, answer_text(turns[1].get("value"), f"{key}[1].value")
