"""What to measure: a model's shape and the sizes of its pairs, checked without torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isqrt
from typing import Any

from medray.errors import ConfigError

CONTEXT = 32_768  # tokens that fit every shape
AROUND_IMAGE = 2  # tokens before and after an image, in some shapes
FIRST_WORD = 8  # ids below it are special tokens
SMALLEST_VOCABULARY = 64
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Shape:
    """The default sizes of a shape; its layers are in `models`."""

    name: str
    vocabulary: int
    image_tokens: int
    dtype: str
    lora_rank: int
    lora_alpha: float


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", 32_000, 256, "float32", 16, 32.0),
        Shape("llava-med-7b", 32_000, 576, "bfloat16", 128, 256.0),
        Shape("qwen2.5-vl-7b", 152_064, 576, "bfloat16", 128, 256.0),
        Shape("tiny", 512, 4, "float32", 4, 8.0),
        Shape("tiny-qwen2.5-vl", 512, 4, "float32", 4, 8.0),
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`batch` images with `questions` of `prompt` tokens each, `answers` to a question, and a pair
    for each of `sentences` of an answer, behind those before it. Answers begin with `common`
    tokens; a sentence has `tail` tokens, of which `edited` differ in both sides: the first ones, or
    with `places` above 1 in so many places that are spread over it.
    `micro_batch`: pairs of one forward pass, or memory for so many (see
    medray.policy.scoring.score_pairs.batch_pairs); None: all of them."""

    shape: str
    vocabulary: int
    image_tokens: int
    dtype: str
    objective: str = "fire"
    batch: int = 4
    prompt: int = 30
    common: int = 20
    tail: int = 40
    edited: int = 6
    places: int = 1
    questions: int = 1
    answers: int = 1
    sentences: int = 1
    micro_batch: int | None = None
    repeats: int = 5
    device: str = "auto"
    seed: int = 0

    def check(self) -> None:
        """Raise ConfigError if no pairs can be built with these sizes."""
        _one_of("--device", self.device, DEVICES)
        _one_of("--dtype", self.dtype, DTYPES)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                given = f"{_option(name)} {getattr(self, name)}"
                raise ConfigError(given, f"less than {least}", "raise it")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ConfigError(f"--micro-batch {self.micro_batch}", "less than 1", "raise it")
        if self.edited > self.tail:
            why = f"the tail has {self.tail} tokens"
            raise ConfigError(f"--edited {self.edited}", why, "lower it, or raise --tail")
        if self.places > self.edited:
            why = f"{self.edited} tokens are edited"
            raise ConfigError(f"--places {self.places}", why, "lower it, or raise --edited")
        if self.image_side**2 != self.image_tokens:
            near = max(1, round(self.image_tokens**0.5)) ** 2
            why = "images are square, and this is not a square number"
            raise ConfigError(f"--image-tokens {self.image_tokens}", why, f"try {near}")
        if self.length > CONTEXT:
            why = f"the context of the models is {CONTEXT}"
            raise ConfigError(f"{self.length} tokens in a sequence", why, "use fewer")

    @property
    def image_side(self) -> int:
        """Image tokens along one edge of the image."""
        return isqrt(self.image_tokens)

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        answer = self.common + self.sentences * self.tail
        return self.image_tokens + AROUND_IMAGE + self.prompt + answer

    @property
    def pairs(self) -> int:
        return self.batch * self.questions * self.answers * self.sentences

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes by the names of the command's options."""
        return {_option(name)[2:].replace("-", "_"): getattr(self, name) for name in SIZES}

    def command(self, *flags: str) -> str:
        """The command line that measures this again; options with default values are omitted."""
        defaults = asdict(make_settings(self.shape))
        words = ["medray", "bench", "learner", "--shape", self.shape]
        for name, value in asdict(self).items():
            if value != defaults[name]:
                words += [_option(name), str(value)]
        return shlex.join([*words, *flags])


def make_settings(
    shape: str = "small",
    *,
    vocabulary: int | None = None,
    image_tokens: int | None = None,
    dtype: str | None = None,
    **others: Any,
) -> Settings:
    """Settings completed with the defaults of the shape, and checked."""
    _one_of("--shape", shape, tuple(SHAPES))
    shape_defaults = SHAPES[shape]
    settings = Settings(
        shape=shape,
        vocabulary=shape_defaults.vocabulary if vocabulary is None else vocabulary,
        image_tokens=shape_defaults.image_tokens if image_tokens is None else image_tokens,
        dtype=shape_defaults.dtype if dtype is None else dtype,
        **others,
    )
    settings.check()
    return settings


SIZES = (
    *("batch", "questions", "answers", "sentences"),
    *("prompt", "common", "tail", "edited", "places", "vocabulary", "image_tokens"),
)
LEAST = {
    "batch": 1,
    "questions": 1,
    "answers": 1,
    "sentences": 1,
    "prompt": 1,
    "common": 0,
    "tail": 1,
    "edited": 1,
    "places": 1,
    "vocabulary": SMALLEST_VOCABULARY,
    "image_tokens": 1,
    "repeats": 1,
}


# Reports as hospitals have them: long, wrong in several places, about images of many tokens.
REPORT: dict[str, Any] = {"tail": 300, "edited": 6, "places": 6}
REPORTS: dict[str, dict[str, Any]] = {
    "a report of 300 tokens": REPORT,
    "... 4 answers an image": REPORT | {"answers": 4, "batch": 1},
    "... 576 image tokens": REPORT | {"image_tokens": 576},
    "... and 4 answers": REPORT | {"image_tokens": 576, "answers": 4, "batch": 1},
    "... 1,296 image tokens": REPORT | {"image_tokens": 1296},
    "... vocabulary 152,000": REPORT | {"vocabulary": 152_000},
}


def report_points(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """(name, settings): the cases of REPORTS, with the other sizes as given."""
    for name, sizes in REPORTS.items():
        point = replace(settings, **sizes)
        if point.length <= CONTEXT:
            yield name, point


def sweep_points(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """(option, settings): each size at about four values around its own, all others unchanged."""
    edge = settings.image_side
    values = {
        "tail": [max(settings.edited, round(settings.tail * f)) for f in (0.5, 1, 2, 4)],
        "common": [0, settings.common, 2 * (settings.common or 10), 4 * (settings.common or 10)],
        "vocabulary": [
            max(SMALLEST_VOCABULARY, round(settings.vocabulary * f)) for f in (0.25, 0.5, 1, 2)
        ],
        "image_tokens": [max(1, round(edge * f)) ** 2 for f in (0.5, 1, 1.5, 2)],
        "batch": [max(1, round(settings.batch * f)) for f in (0.25, 0.5, 1, 2)],
    }
    for name, size_values in values.items():
        for value in sorted(set(size_values)):
            point = _with(settings, name, value)
            if point.length <= CONTEXT:
                yield _option(name)[2:].replace("-", "_"), point


def _with(settings: Settings, name: str, value: int) -> Settings:
    changes: dict[str, Any] = {name: value}
    return replace(settings, **changes)


def _option(name: str) -> str:
    """The command-line option that sets a field."""
    return "--vocab" if name == "vocabulary" else "--" + name.replace("_", "-")


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{option} {value}", "unknown", f"one of {', '.join(known)}")
