"""LLaMA-Factory: a conversation with one question, and both answers as turns.

{"conversations": [{"from": "human", "value": "<image>…"}], "images": ["a.png"],
 "chosen": {"from": "gpt", "value": "…"}, "rejected": {"from": "gpt", "value": "…"}}
"""

from __future__ import annotations

from typing import Any

from medray.data.pairs.base import (
    IMAGE_MARK,
    Origin,
    PreferencePair,
    answer_text,
    listed_images,
    question_words,
)
from medray.data.rows import FieldError, optional


def read_llama_factory(row: dict[str, Any], number: int, origin: Origin) -> PreferencePair:
    """A row of a LLaMA-Factory preference file. Raises FieldError."""
    turns = row.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise FieldError(
            "conversations", "is missing" if turns is None else "is not a list of turns"
        )
    if [turn.get("from") for turn in turns] != ["human"]:
        raise FieldError("conversations", "is not one turn of human")
    images = listed_images(row)
    return PreferencePair(
        pair_id=optional(row, "id") or str(number),
        **origin.images_of(images, "images"),
        question=question_words(turns[0].get("value"), "conversations[0].value", len(images)),
        chosen=_answer(row, "chosen"),
        rejected=_answer(row, "rejected"),
        source=optional(row, "source") or "llama-factory",
        licence=optional(row, "licence") or origin.licence,
    )


def llama_factory_row(pair: PreferencePair) -> dict[str, Any]:
    """A pair in LLaMA-Factory's layout."""
    images = [pair.image, *(image.path for image in pair.other_images)]
    question = IMAGE_MARK * len(images) + pair.question
    return {
        "conversations": [{"from": "human", "value": question}],
        "chosen": {"from": "gpt", "value": pair.chosen},
        "rejected": {"from": "gpt", "value": pair.rejected},
        "images": images,
    }


def _answer(row: dict[str, Any], key: str) -> str:
    turn = row.get(key)
    if not isinstance(turn, dict) or turn.get("from") != "gpt":
        raise FieldError(key, "is missing" if turn is None else "is not a turn of gpt")
    return answer_text(turn.get("value"), f"{key}.value")
