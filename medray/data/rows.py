"""What every reader needs: checked fields, cleaned text, answer types, file digests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from medray.errors import DataError
from medray.files import open_file
from medray.records import AnswerType
from medray.terminal import without_controls

Digest = Callable[[str], str]  # path of an image → sha256 of its bytes, "" if unreadable

MAX_TEXT = 512 * 2**20  # bytes of a file that is read at once
# What pandas, R and databases write for a missing or an infinite number.
MISSING = (
    *("nan", "NaN", "NAN", "NaT", "<NA>", "NULL", "null", "Null"),
    *("inf", "-inf", "Infinity", "-Infinity"),
)
PLACEHOLDER = re.compile(
    r"</?(?:image|video|audio|img|s|bos|eos|pad|unk)(?:_?(?:pad|start|end|placeholder|soft_token))?>"
    r"|<\|[A-Za-z0-9_ ]{1,40}\|>|\[/?INST\]|<<?/?SYS>>?|<(?:start|end)_of_(?:turn|image)>",
    re.IGNORECASE,
)
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


def image_names(row: dict[str, Any]) -> list[str]:
    """The files that a row names as `images`, or else as `image`: a list, or one. Raises
    FieldError.

    >>> image_names({"images": ["a.png", "b.png"]}), image_names({"image": "a.png"})
    (['a.png', 'b.png'], ['a.png'])
    """
    key = "image" if row.get("images") is None else "images"
    names = row.get(key)
    if not isinstance(names, list):
        return [path_text(row, key)]
    if not names:
        raise FieldError(key, "is an empty list")
    found = [path_text({f"{key}[{i}]": name}, f"{key}[{i}]") for i, name in enumerate(names)]
    if key == "images" and row.get("image") not in (None, found[0]):
        raise FieldError("image", "is not the first of images; give one of both")
    return found


def existing_folder(path: str | None, kind: str) -> Path:
    """The dataset's path. Raises DataError if it is not given or does not exist."""
    if not path:
        raise DataError("data.path", f"not given for kind {kind}", "give the dataset's folder")
    found = Path(path)
    if not found.exists():
        raise DataError(path, "no such file or folder", path_hint(path) or "correct data.path")
    if not found.is_dir() and not found.is_file():
        raise DataError(path, "is neither a file nor a folder", "correct data.path")
    return found


def path_hint(path: str) -> str:
    r"""What is likely wrong with a path at which there is no file; "" if nothing looks odd.

    >>> path_hint("imgs\\a.png"), path_hint("~/a.png"), path_hint("a.png")
    ('write / for \\: it is a path of Windows', 'write your home out: ~ is not expanded', '')
    """
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", path):
        return "download it first: only files are read, no URLs"
    if path.startswith("~"):
        return "write your home out: ~ is not expanded"
    if "\\" in path or re.match(r"[A-Za-z]:", path):
        return "write / for \\: it is a path of Windows"
    return ""


def read_text(path: Path) -> str:
    """A UTF-8 file, byte-order mark removed. Raises DataError."""
    try:
        with open_file(path) as file:
            content = file.read(MAX_TEXT + 1)
        if len(content) > MAX_TEXT:
            why = f"has more than {MAX_TEXT >> 20} MiB"
            raise DataError(str(path), why, "give the file as distributed")
        return content.decode("utf-8-sig")
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
    except (ValueError, RecursionError) as error:  # ValueError: an integer of thousands of digits
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
    """A text or number of a dataset as clean text, without control characters; what tables have
    in the place of a missing value becomes "".

    >>> words("  Is there\\n a  nodule? "), words(3), words(None), words("NULL"), words(True)
    ('Is there a nodule?', '3', '', '', 'yes')
    >>> words(math.nan), words("nan"), words(math.inf), words("None")
    ('', '', '', 'None')
    """
    if isinstance(value, str):
        return _cleaned(value)
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


@lru_cache(maxsize=2**14)  # columns repeat their values, and equal texts are then one object
def _cleaned(text: str) -> str:
    if is_missing(text):
        return ""
    return " ".join(without_controls(text).split())


def is_missing(value: Any) -> bool:
    """Whether a value is what a table has where there is none: null, NaN, an infinite number, or
    the text of one of these. "None" may be an answer."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or (isinstance(value, str) and value.strip() in MISSING)


def is_scalar(value: Any) -> bool:
    """Whether `words` accepts a JSON value: text, number, true, false or null."""
    return value is None or isinstance(value, str | int | float)


def placeholder(text: str) -> str:
    """The first mark of an image, a turn or an end in a text, "" without one: chat templates and
    trainers would take it for what it stands for.

    >>> placeholder("see <image>"), placeholder("[INST] a"), placeholder("a < b")
    ('<image>', '[INST]', '')
    """
    found = PLACEHOLDER.search(text)
    return found.group() if found else ""


def infer_answer_type(answer: str) -> AnswerType:
    """Closed if the answer is yes or no, open otherwise.

    >>> infer_answer_type("Yes."), infer_answer_type("no nodule")
    ('closed', 'open')
    """
    return "closed" if YES_NO.fullmatch(answer) else "open"
