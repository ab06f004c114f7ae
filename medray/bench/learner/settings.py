"""What is measured: a model's shape and the sizes of its pairs, checked without torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isqrt
from typing import Any

from medray.errors import ConfigError

CONTEXT = 32_768  # tokens that every shape holds
AROUND_IMAGE = 2  # tokens before and behind an image, in some shapes
FIRST_WORD = 8  # ids below it are special tokens
SMALLEST_VOCABULARY = 64
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes a shape has where nothing else is asked for; its layers are in `models`."""

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
    """`batch` pairs on one image each: `prompt` tokens behind the image, `common` tokens that
    both answers begin with, `tail` tokens of which the first `edited` differ."""

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
    repeats: int = 5
    device: str = "auto"
    seed: int = 0

    def check(self) -> None:
        """ConfigError where the sizes make no pairs."""
        _one_of("--device", self.device, DEVICES)
        _one_of("--dtype", self.dtype, DTYPES)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                given = f"{_option(name)} {getattr(self, name)}"
                raise ConfigError(given, f"less than {least}", "raise it")
        if self.edited > self.tail:
            why = f"the tail has {self.tail} tokens"
            raise ConfigError(f"--edited {self.edited}", why, "lower it, or raise --tail")
        if self.image_side**2 != self.image_tokens:
            near = max(1, round(self.image_tokens**0.5)) ** 2
            why = "images are square, and this is not a square number"
            raise ConfigError(f"--image-tokens {self.image_tokens}", why, f"try {near}")
        if self.length > CONTEXT:
            why = f"the models hold {CONTEXT}"
            raise ConfigError(f"{self.length} tokens in a sequence", why, "ask for fewer")

    @property
    def image_side(self) -> int:
        """Image tokens along one side of the image."""
        return isqrt(self.image_tokens)

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return self.image_tokens + AROUND_IMAGE + self.prompt + self.common + self.tail

    @property
    def sizes(self) -> dict[str, int]:
        """By the names of the command's options."""
        return {_option(name)[2:].replace("-", "_"): getattr(self, name) for name in SIZES}

    def command(self, *flags: str) -> str:
        """The command line that measures this again, without what is the default anyway."""
        plain = asdict(make_settings(self.shape))
        words = ["medray", "bench", "learner", "--shape", self.shape]
        for name, value in asdict(self).items():
            if value != plain[name]:
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
    """A task, completed from the shape and checked."""
    _one_of("--shape", shape, tuple(SHAPES))
    usual = SHAPES[shape]
    task = Settings(
        shape=shape,
        vocabulary=usual.vocabulary if vocabulary is None else vocabulary,
        image_tokens=usual.image_tokens if image_tokens is None else image_tokens,
        dtype=usual.dtype if dtype is None else dtype,
        **others,
    )
    task.check()
    return task


SIZES = ("batch", "prompt", "common", "tail", "edited", "vocabulary", "image_tokens")
LEAST = {
    "batch": 1,
    "prompt": 1,
    "common": 0,
    "tail": 1,
    "edited": 1,
    "vocabulary": SMALLEST_VOCABULARY,
    "image_tokens": 1,
    "repeats": 1,
}


def sweep_points(task: Settings) -> Iterator[tuple[str, Settings]]:
    """(option, task): each size at about four values around the task's, the others as they are."""
    side = task.image_side
    values = {
        "tail": [max(task.edited, round(task.tail * f)) for f in (0.5, 1, 2, 4)],
        "common": [0, task.common, 2 * (task.common or 10), 4 * (task.common or 10)],
        "vocabulary": [
            max(SMALLEST_VOCABULARY, round(task.vocabulary * f)) for f in (0.25, 0.5, 1, 2)
        ],
        "image_tokens": [max(1, round(side * f)) ** 2 for f in (0.5, 1, 1.5, 2)],
        "batch": [max(1, round(task.batch * f)) for f in (0.25, 0.5, 1, 2)],
    }
    for name, wanted in values.items():
        for value in sorted(set(wanted)):
            point = _with(task, name, value)
            if point.length <= CONTEXT:
                yield _option(name)[2:].replace("-", "_"), point


def _with(task: Settings, name: str, value: int) -> Settings:
    changes: dict[str, Any] = {name: value}
    return replace(task, **changes)


def _option(name: str) -> str:
    """The option of the command that sets a field."""
    return "--vocab" if name == "vocabulary" else "--" + name.replace("_", "-")


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{option} {value}", "unknown", f"one of {', '.join(known)}")
