"""A preference pair as stored in a file, and helpers that all layouts share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medray.data.rows import Digest, FieldError, is_missing, path_text, placeholder, words
from medray.records import ImageFile
from medray.terminal import without_controls

IMAGE_MARK = "<image>"
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to one question about its images, `chosen` the better one.

    Spans are the characters [start, end) that an edit changed. `score`, if given, is the weight
    of the pair. `rejected_image` is "" if both answers are about the same images; it stands for
    `image`, the first. `other_images`: those behind it, in order.

    >>> PreferencePair("1", "a.png", "", "Is there a nodule?", "No.", "Yes.").rejected_spans
    ()
    """

    pair_id: str
    image: str
    image_sha256: str
    question: str
    chosen: str
    rejected: str
    rejected_image: str = ""
    chosen_spans: Spans = ()
    rejected_spans: Spans = ()
    score: float | None = None
    response_was_correct: bool | None = None
    split: str = ""
    source: str = ""
    licence: str = ""
    other_images: tuple[ImageFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of pairs: the folder of their images, and a licence if rows state none."""

    images: Path
    digest: Digest
    licence: str = ""

    def image(self, value: Any, field: str) -> tuple[str, str]:
        """(path, sha256) of an image that a row names. Raises FieldError."""
        path = str(self.images / path_text({field: value}, field))
        return path, self.digest(path)

    def images_of(self, values: Sequence[Any], field: str) -> dict[str, Any]:
        """The images that a row names, as fields of a `PreferencePair`. Raises FieldError."""
        (image, digest), *others = (self.image(value, field) for value in values)
        files = tuple(ImageFile(*other) for other in others)
        return {"image": image, "image_sha256": digest, "other_images": files}


# (row, its number, its origin) → pair; raises FieldError
ReadPair = Callable[[dict[str, Any], int, Origin], PreferencePair]


def question_words(text: Any, field: str, images: int = 1) -> str:
    """A question without the markers of its images, which are all at its start or all at its end,
    or absent. Raises FieldError.

    >>> question_words("<image>\\nIs it?", "prompt"), question_words("Is it?\\n<image>", "prompt")
    ('Is it?', 'Is it?')
    """
    if not isinstance(text, str):
        raise FieldError(field, "is not a text")
    text = text.strip()
    found = text.count(IMAGE_MARK)
    if found not in (0, images):
        why = "inside the text, or more than once" if images == 1 else f"{found} times"
        of = "" if images == 1 else f" for {images} images"
        raise FieldError(field, f"has {IMAGE_MARK} {why}{of}")
    for _ in range(found):
        at_start = text.startswith(IMAGE_MARK)
        text = (text.removeprefix if at_start else text.removesuffix)(IMAGE_MARK).strip()
    if IMAGE_MARK in text:
        raise FieldError(field, f"has {IMAGE_MARK} inside the text, or more than once")
    question = words(text)
    if not question:
        raise FieldError(field, "is empty")
    return question


def answer_text(value: Any, field: str) -> str:
    """An answer, unchanged except for control characters, and white space around it.

    Raises FieldError, also for the mark of an image inside it, which trainers count.
    """
    if is_missing(value):
        raise FieldError(field, "is missing" if value is None else f"is {value}: a missing value")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FieldError(field, "is not a text")
    text = without_controls(str(value)).strip()
    if mark := placeholder(text):
        raise FieldError(field, f"has {mark} inside the text")
    return text


def score_of(value: Any, field: str) -> float | None:
    """A finite number, or None if there is none. Raises FieldError."""
    if value is None:
        return None
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not math.isfinite(value):
        raise FieldError(field, "is not a finite number")
    return float(value)


def listed_images(row: dict[str, Any]) -> list[Any]:
    """The images of a row with `images` (or `image`), at least one. Raises FieldError."""
    value = row["images"] if row.get("images") is not None else row.get("image")
    values = value if isinstance(value, list) else [value]
    if not values:
        raise FieldError("images", "holds no image")
    return [_path_of(each) for each in values]


def _path_of(value: Any) -> Any:
    if isinstance(value, dict):  # as Hugging Face stores images: {"bytes", "path"}
        if not value.get("path"):
            raise FieldError("images", "holds the bytes of an image; give the path of a file")
        return value["path"]
    return value
