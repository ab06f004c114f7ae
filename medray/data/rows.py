"""What every reader needs: checked fields, cleaned text, answer types, file digests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medray.errors import DataError
from medray.records import AnswerType

Digest = Callable[[str], str]  # path of an image → sha256 of its bytes, "" if unreadable

YES_NO = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)


class FieldError(Exception):
    """A field of a row is wrong; `locate_errors` adds the row's location."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, why)
        self.field, self.why = field, why


@contextmanager
def locate_errors(where: str) -> Iterator[None]:
    """Turn FieldError into DataError naming `where`."""
    try:
        yield
    except FieldError as error:
        raise DataError(f"{where}: {error.field}", error.why, "correct the row") from None


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A row that must be a mapping. Raises DataError."""
    if not isinstance(value, dict):
        raise DataError(where, "is not a mapping", "give the file as distributed")
    return value


def required(row: dict[str, Any], key: str) -> str:
    """The text of a field that must be present and not empty. Raises FieldError."""
    if key not in row:
        raise FieldError(key, "is missing")
    text = optional(row, key)
    if not text:
        raise FieldError(key, "is empty")
    return text


def optional(row: dict[str, Any], key: str) -> str:
    """The text of a field, "" if it is missing. Raises FieldError if it is a list or mapping."""
    if not is_scalar(row.get(key)):
        raise FieldError(key, "is not a text or number")
    return words(row.get(key))


def path_text(row: dict[str, Any], key: str) -> str:
    """A field that names a file, unchanged. Raises FieldError."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise FieldError(key, "is missing" if value is None else "is not a text, or empty")
    if "\0" in value:
        raise FieldError(key, "holds a NUL")
    return value


def existing_folder(path: str | None, kind: str) -> Path:
    """The dataset's path. Raises DataError if it is not given or does not exist."""
    if not path:
        raise DataError("data.path", f"not given for kind {kind}", "give the dataset's folder")
    if not Path(path).exists():
        raise DataError(path, "no such file or folder", "correct data.path")
    return Path(path)


def read_text(path: Path) -> str:
    """A UTF-8 file, byte-order mark removed. Raises DataError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(str(path), "is not UTF-8 text", "convert it to UTF-8") from None
    except OSError as error:
        raise DataError(str(path), error.strerror or "cannot be read", "check the file") from None


def existing_file(folder: Path, names: tuple[str, ...], dataset: str) -> Path:
    """The first of `names` that is in the folder. Raises DataError if there is none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        str(folder), f"not {dataset}: no {names[0]!r} in it", "give the folder that holds it"
    )


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text. Raises DataError naming `where` and the fault."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(where, f"is not valid JSON ({error})", "fix or replace it") from None
    if half_characters(text, value):
        raise DataError(where, "is not valid JSON (holds half of a character)", "fix it")
    return value


def half_characters(text: str, value: Any) -> bool:
    r"""Whether JSON holds half of a surrogate pair, which cannot be encoded as UTF-8.

    >>> half_characters(r'"\ud83d\ude00"', "\U0001f600"), half_characters(r'"\ud83d"', "\ud83d")
    (False, True)
    """
    if "\\u" not in text:
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def words(value: Any) -> str:
    """A text or number of a dataset as clean text; None and "NULL" become "".

    >>> words("  Is there\\n a  nodule? "), words(3), words(None), words("NULL"), words(True)
    ('Is there a nodule?', '3', '', '', 'yes')
    """
    if value is None or value == "NULL":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())


def is_scalar(value: Any) -> bool:
    """Whether `words` accepts a JSON value: text, number, true, false or null."""
    return value is None or isinstance(value, str | int | float)


def infer_answer_type(answer: str) -> AnswerType:
    """Closed if the answer is yes or no, open otherwise.

    >>> infer_answer_type("Yes."), infer_answer_type("no nodule")
    ('closed', 'open')
    """
    return "closed" if YES_NO.fullmatch(answer) else "open"
