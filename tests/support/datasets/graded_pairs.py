"""Pairs that the findings editor makes of paragraphs and reports, and a reader's grades of them.

``python -m tests.support.datasets.graded_pairs [DATA]`` makes them again, shows those without a
grade, and says how many answers gave no pair and why. `--write` adds those without a grade to the
file, ungraded: read each, and set its grades.

Half are of the rejected sides of MMedPO that have at least thirty words, half of the reports in
written_reports.jsonl. The four grades: `true` (the chosen side agrees with the reference, and the
rejected one contradicts it), `grammatical`, `minimal` (and in the answer's style) and `untouched`
(nothing was altered that was right).
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medray.editing import FindingsEditor
from tests.support.datasets.real_answers import Triple, rejected
from tests.support.paths import shared_data

GRADED = Path(__file__).with_name("graded_pairs.jsonl")
REPORTS = Path(__file__).with_name("written_reports.jsonl")
GRADES = ("true", "grammatical", "minimal", "untouched")
_SIDES = ("question", "reference", "prefix", "chosen", "rejected")
_PAIRS, _WORDS, _SEED = 150, 30, 20261125


@dataclass(frozen=True, slots=True)
class Made:
    """All pairs of some answers, and why the other answers gave none."""

    pairs: list[dict[str, str]]
    answers: int
    without: Counter[str]


def made(triples: Iterable[Triple]) -> Made:
    """The pairs of every answer, in order."""
    pairs, without, answers = [], Counter[str](), 0
    editor = FindingsEditor()
    for question, reference, answer in triples:
        answers += 1
        edit = editor.edit(question, reference, answer, seed=0)
        if not edit.sentences:
            without[edit.reason] += 1
        for sentence in edit.sentences:
            own, other = answer[sentence.start : sentence.end], sentence.text
            chosen, rejected_side = (other, own) if edit.verdict == "wrong" else (own, other)
            sides = (question, reference, answer[: sentence.start], chosen, rejected_side)
            pairs.append(dict(zip(_SIDES, sides, strict=True)))
    return Made(pairs, answers, without)


def paragraphs(data: Path) -> list[Triple]:
    """The rejected sides of MMedPO of at least thirty words."""
    triples = [t for name in ("slake", "vqa-rad") for t in rejected(data, name)]
    return [t for t in triples if len(t[2].split()) >= _WORDS]


def reports() -> list[Triple]:
    """The written reports."""
    rows = [json.loads(line) for line in REPORTS.read_text(encoding="utf-8").splitlines()]
    return [(row["question"], row["reference"], row["answer"]) for row in rows]


def graded() -> list[dict[str, Any]]:
    """The rows of the file: a pair's sides, its `grades` (None: not read yet) and a `note`."""
    return [json.loads(line) for line in GRADED.read_text(encoding="utf-8").splitlines()]


def key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _SIDES)


def sample(*groups: Made) -> list[dict[str, str]]:
    """150 random pairs: 75 of each group, fewer of one if it has no more."""
    rng = random.Random(_SEED)
    chosen: list[dict[str, str]] = []
    for number, group in enumerate(sorted(groups, key=lambda g: len(g.pairs))):
        share = (_PAIRS - len(chosen)) // (len(groups) - number)
        chosen += rng.sample(group.pairs, min(share, len(group.pairs)))
    return chosen


def _main(data: Path, *, write: bool) -> None:
    groups = {"paragraphs": made(paragraphs(data)), "reports": made(reports())}
    for name, group in groups.items():
        none = group.without.total()
        print(f"{name}: {group.answers} answers, {len(group.pairs)} pairs, {none} without one:")
        print("  " + ", ".join(f"{why} {n}" for why, n in group.without.most_common()))
    rows = {key(row): row for row in (graded() if GRADED.exists() else [])}
    pairs = sample(*groups.values())
    read = [rows[key(p)]["grades"] for p in pairs if key(p) in rows and rows[key(p)]["grades"]]
    for grade in GRADES:
        print(f"{grade}: {sum(g[grade] for g in read)} of {len(read)}")
    print(f"all four: {sum(all(g.values()) for g in read)} of {len(read)}")
    fresh = [p for p in pairs if key(p) not in rows or not rows[key(p)]["grades"]]
    for pair in fresh:
        print(json.dumps(pair, ensure_ascii=False, indent=1))
    print(f"{len(fresh)} of {len(pairs)} pairs are not graded")
    if write:
        blank: dict[str, Any] = {"grades": None, "note": ""}
        lines = [json.dumps(rows.get(key(p), {**p, **blank}), ensure_ascii=True) for p in pairs]
        GRADED.write_text("".join(line + "\n" for line in lines), encoding="ascii")


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:] if argument != "--write"]
    _main(folders[0] if folders else shared_data(), write="--write" in sys.argv[1:])
