"""TRL: columns prompt, chosen, rejected, images; plain or conversational.

Conversational sides are lists of {"role", "content"}, with content a text or a list of parts.
Without a prompt, both sides begin with the same user turn.
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


def read_trl(row: dict[str, Any], number: int, origin: Origin) -> PreferencePair:
    """A row of a preference dataset for TRL. Raises FieldError."""
    prompt = row.get("prompt")
    question, chosen = _side(row.get("chosen"), "chosen")
    rejected_question, rejected = _side(row.get("rejected"), "rejected")
    if prompt is None:
        if question is None or rejected_question != question:
            raise FieldError(
                "prompt", "is missing, and the sides do not begin with the same question"
            )
        prompt = question
    elif isinstance(prompt, list):
        prompt = _turns(prompt, "prompt", ("user",))[0]
    images = listed_images(row)
    return PreferencePair(
        pair_id=optional(row, "id") or str(number),
        **origin.images_of(images, "images"),
        question=question_words(prompt, "prompt", len(images)),
        chosen=chosen,
        rejected=rejected,
        source=optional(row, "source") or "trl",
        licence=optional(row, "licence") or origin.licence,
    )


def trl_row(pair: PreferencePair) -> dict[str, Any]:
    """A pair in the conversational layout."""
    images = [pair.image, *(image.path for image in pair.other_images)]
    question = [*({"type": "image"} for _ in images), {"type": "text", "text": pair.question}]
    return {
        "images": images,
        "prompt": [{"role": "user", "content": question}],
        "chosen": [_assistant_turn(pair.chosen)],
        "rejected": [_assistant_turn(pair.rejected)],
    }


def _assistant_turn(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def _side(value: Any, field: str) -> tuple[str | None, str]:
    """(question, or None if the side has none; answer)."""
    if not isinstance(value, list):
        return None, answer_text(value, field)
    if len(value) == 1:
        return None, answer_text(_turns(value, field, ("assistant",))[0], field)
    question, answer = _turns(value, field, ("user", "assistant"))
    return question, answer_text(answer, field)


def _turns(value: list[Any], field: str, roles: tuple[str, ...]) -> list[str]:
    """The texts of exactly these turns."""
    if not all(isinstance(turn, dict) for turn in value):
        raise FieldError(field, "is not a list of turns")
    if tuple(turn.get("role") for turn in value) != roles:
        raise FieldError(field, f"is not {' and '.join(f'one turn of {role}' for role in roles)}")
    return [_content(turn.get("content"), turn["role"], field) for turn in value]


def _content(value: Any, role: str, field: str) -> str:
    """The text of a turn, behind a marker for each image that is a part of a question."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise FieldError(field, "has a turn without content")
    text = " ".join(str(part["text"]) for part in value if part.get("text"))
    if role != "user" or IMAGE_MARK in text:
        return text
    return IMAGE_MARK * sum(part.get("type") == "image" for part in value) + text
