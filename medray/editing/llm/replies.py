"""The replies that a model may give: strict schemas, read from strict JSON."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medray.editing.ontology.lexicon import ontology
from medray.errors import ItemError
from medray.terminal import without_controls

Text = Annotated[str, Field(max_length=4000)]
# Addresses, tags and marks of chat templates would be taught as findings.
_NO_WORDS = re.compile(r"://|\bwww\.|<[/|]?\w[^<>]{0,40}>|\[/?INST\]", re.IGNORECASE)
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Verdict = Literal["right", "wrong", "cannot-tell"]
R = TypeVar("R", bound="Reply")


class Reply(BaseModel):
    """Unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class ReplacementReply(Reply):
    """One replacement, as the model names it."""

    original: Annotated[Text, Field(min_length=1)]
    corrected: Text
    error_type: str
    severity: Share
    reason: str
    occurrence: Annotated[int, Field(ge=1)] | None = None

    @field_validator("error_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ontology().severity:
            raise ValueError("not an error type of the ontology")
        return value

    @field_validator("corrected")
    @classmethod
    def _plain(cls, value: str) -> str:
        if without_controls(value) != value or _NO_WORDS.search(value):
            raise ValueError("holds more than words")
        return value

    @field_validator("reason")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return "".join(c for c in " ".join(value.split()) if c.isprintable())[:300]


class EditReply(Reply):
    verdict: Verdict
    replacements: Annotated[tuple[ReplacementReply, ...], Field(max_length=50)]


class VerdictReply(Reply):
    verdict: Verdict


class ScoreReply(Reply):
    agree: bool = False
    score: Share | None = None


# Bounds of a reply that a schema constrains: a model that talks nonsense must come to an end.
_MOST_REPLACEMENTS, _WORDING, _REASON, _OCCURRENCES = 6, 160, 100, 9  # the middle two: characters


@cache
def schema(kind: type[Reply]) -> dict[str, Any]:
    """The JSON schema of a reply that is generated under it: `parse` accepts all that fit.

    Numbers are lists of choices, because a decimal has no end.
    """
    shares = [tenth / 10 for tenth in range(11)]
    if kind is VerdictReply:
        return _object(verdict=_choice(*get_args(Verdict)))
    if kind is ScoreReply:
        return _object(agree={"type": "boolean"}, score=_choice(None, *shares))
    replacement = _object(
        original=_string(_WORDING) | {"minLength": 1},
        occurrence=_choice(None, *range(1, _OCCURRENCES + 1)),
        corrected=_string(_WORDING),
        error_type=_choice(*ontology().severity),
        severity=_choice(*shares),
        reason=_string(_REASON),
    )
    several = {"type": "array", "items": replacement, "maxItems": _MOST_REPLACEMENTS}
    return _object(verdict=_choice(*get_args(Verdict)), replacements=several)


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _choice(*values: Any) -> dict[str, Any]:
    return {"enum": list(values)}


def _string(length: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": length}


def parse(text: str, kind: type[R]) -> R:
    """The reply in a model's text; a block of reasoning before it and a code fence are skipped.

    Raises ItemError("llm-malformed"), which names the key and never repeats the text.

    >>> parse('```json\\n{"verdict": "right"}\\n```', VerdictReply).verdict
    'right'
    """
    text = re.sub(r"\A\s*<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    if fenced := re.fullmatch(r"```(?:json)?\s*\n(.*)\n\s*```", text, re.DOTALL):
        text = fenced[1]
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise ItemError("llm-malformed", f"{location}: {first['type']}") from None
    except ValueError:  # characters that JSON cannot contain
        raise ItemError("llm-malformed", "the reply is not text") from None
