"""The key of a review: which side of each pair is chosen, or whose answer. It stays with the run.

    RUN/review/ID.json

ID is a digest of the content, so a key that was changed is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from medray.errors import DataError
from medray.files import read_file, write_text

Side = Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What the page does not show of a pair. `pair_id` is that of the ledger.

    `step`: in which it was trained. `corrected`: the chosen side is an edited answer (else the
    rejected side is); None if neither side is an answer of the policy.
    """

    pair_id: str
    step: int
    error_type: str
    chosen: Side
    corrected: bool | None


class _Named(ABC):
    """What is kept in a file that has its digest as a name."""

    __slots__ = ()

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """All of it, as plain JSON values."""

    @property
    def id(self) -> str:
        return hashlib.sha256(_canonical(self.content()).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Key(_Named):
    """`pairs`: opaque id, as in the page → entry, in the page's order.

    `trained`: error type → trained pairs of the run from which the pairs were drawn.
    `salt`: a digest of the run's ledger, so that nobody finds the order by trying seeds.
    """

    pairs: Mapping[str, KeyEntry]
    trained: Mapping[str, int]
    salt: str

    def content(self) -> dict[str, Any]:
        pairs = {name: asdict(entry) for name, entry in self.pairs.items()}
        return {"pairs": pairs, "trained": dict(self.trained), "salt": self.salt}


@dataclass(frozen=True, slots=True)
class AnswerEntry:
    """What the page does not show of the answers to a case.

    `first`: the side on which that of the first evaluation stands. `error_types`, `verdicts`: of
    each evaluation's answer, as the rules read it. `group`: the type it was drawn as.
    """

    case_id: str
    first: Side
    error_types: tuple[str, ...]
    verdicts: tuple[str, ...]
    group: str


@dataclass(frozen=True, slots=True)
class AnswerKey(_Named):
    """`pairs`: opaque id, as in the page → entry, in the page's order. `sources`: the one or two
    evaluations. `answered`: group → cases from which those of the page were drawn. `salt`: as in
    Key."""

    pairs: Mapping[str, AnswerEntry]
    sources: tuple[str, ...]
    answered: Mapping[str, int]
    salt: str

    def content(self) -> dict[str, Any]:
        pairs = {name: asdict(entry) for name, entry in self.pairs.items()}
        answered = dict(self.answered)
        return {"answers": pairs, "sources": self.sources, "answered": answered, "salt": self.salt}


AnyKey = Key | AnswerKey


def key_file(run: Path, review: str) -> Path:
    return run / "review" / f"{review}.json"


def write_key(run: Path, key: AnyKey) -> None:
    """Write the key's file. Raises DataError if it cannot be written."""
    path = key_file(run, key.id)
    try:
        path.parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(key.content(), indent=1) + "\n")
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise DataError(str(path), why, "make the run's directory writable") from None


def read_key(run: Path, review: str) -> AnyKey | None:
    """The key of a review; None if this run has no such review. Raises DataError if the key is not
    as it was written."""
    path = key_file(run, review)
    if not re.fullmatch(r"[0-9a-f]{16}", review) or not path.is_file():
        return None
    todo = "restore it from a copy of the run, or draw again with the same -n and --seed"
    try:
        content = json.loads(read_file(path))
        key = _answer_key(content) if "answers" in content else _pair_key(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(str(path), "is not the key of a review", todo) from None
    if key.id != review:
        raise DataError(str(path), "was changed since the pairs were drawn", todo)
    return key


def _pair_key(content: Mapping[str, Any]) -> AnyKey:
    entries = {name: KeyEntry(**entry) for name, entry in content["pairs"].items()}
    return Key(entries, dict(content["trained"]), content["salt"])


def _answer_key(content: Mapping[str, Any]) -> AnyKey:
    entries = {}
    for name, entry in content["answers"].items():
        lists = {field: tuple(entry[field]) for field in ("error_types", "verdicts")}
        entries[name] = AnswerEntry(**(entry | lists))
    return AnswerKey(entries, tuple(content["sources"]), dict(content["answered"]), content["salt"])


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))
