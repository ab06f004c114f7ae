"""A run to review, and the files that readers of its page would save."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medray.review import Key, draw_pairs, write_page
from medray.rundir import RunDirectory

Right = str | None


def make_review(run: RunDirectory, out: Path, *, n: int = 12, seed: int = 0) -> Key:
    """The page of a run at `out`, its key in the run."""
    rows, key = draw_pairs(run, n, seed)
    write_page(run.path, rows, key, out)
    return key


def checksum(content: Mapping[str, Any]) -> str:
    """As the page computes it."""
    fields = [content["review"], content["reader"]]
    for grade in content["grades"]:
        well = {None: "", True: "true", False: "false"}[grade["reads_well"]]
        fields += [grade["pair"], grade["right"] or "", well, grade["comment"]]
    return format(zlib.crc32("\x1f".join(fields).encode()), "08x")


def save(path: Path, review: str, grades: list[dict[str, Any]], *, reader: str = "") -> Path:
    content: dict[str, Any] = {"format": "medray-review-1", "review": review, "reader": reader}
    content["grades"] = grades
    path.write_text(json.dumps(content | {"checksum": checksum(content)}))
    return path


def grade(pair: str, right: Right, well: bool | None = None, comment: str = "") -> dict[str, Any]:
    return {"pair": pair, "right": right, "reads_well": well, "comment": comment}
