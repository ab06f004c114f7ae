"""What every reader needs: checked fields, cleaned words, answer types, file digests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from medray.errors import DataError
from medray.records import AnswerType

YES_NO = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)


def existing_folder(path: str | None, kind: str) -> Path:
    """The dataset's path, or DataError saying that it is missing."""
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


def parse_json(text: str, where: str) -> Any:
    """JSON, or DataError naming `where` and what is wrong with it."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(where, f"is not valid JSON ({error})", "mend or replace it") from None


def words(value: Any) -> str:
    """A text or number of a dataset as clean text; None and NULL become "".

    >>> words("  Is there\\n a  nodule? "), words(3), words(None), words("NULL"), words(True)
    ('Is there a nodule?', '3', '', '', 'yes')
    """
    if value is None or value == "NULL":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())


def is_scalar(value: Any) -> bool:
    """Whether a JSON value can stand for words: text, number, true, false or null."""
    return value is None or isinstance(value, str | int | float)


def infer_answer_type(answer: str) -> AnswerType:
    """Closed where the answer is yes or no, open otherwise.

    >>> infer_answer_type("Yes."), infer_answer_type("no nodule")
    ('closed', 'open')
    """
    return "closed" if YES_NO.fullmatch(answer) else "open"
