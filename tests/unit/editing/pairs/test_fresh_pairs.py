"""Pairs of sixteen sets, graded before their faults were mended: no fault is made again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from tests.support.datasets.graded_pairs import GRADED, made

FILE = GRADED.with_name("fresh_pairs.jsonl")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
STYLE = (  # true, and longer or shorter than needed
    "ground-glass opacities with a lower lobe",
    "Clear lungs.",
    "the affected lobe is the temporal lobe.",
    "There are filling defects in the right lower lobe",
)
FRAMES = (  # a detail of the answer's own that frames what is compared, or a reading of it
    "Extensive subcutaneous emphysema",
    "possibly representing atelectasis",
    "of the abdomen, obtained in the axial plane",
    "in the lung fields.",
    "PA view of the chest.",
    "of the brain.",
    "ribs on this side.",
)
KNOWN = (  # not mended: what an answer leaves out, and rejected sides that nobody writes
    "The lesion appears hypodense.",
    "within the sella turcica, in the region of",
    "The spleen is normal in this image.",
    "A moderate joint effusion is noted.",
    "A right hip arthroplasty is in place.",
)
BARE = "No."  # in place of a sentence


def is_made(row: dict[str, Any]) -> bool:
    """Whether the pair is made of its answer's beginning."""
    answer = row["prefix"] + row[row["sampled"]]
    sides = (row["chosen"], row["rejected"])
    pairs = made([(row["question"], row["reference"], answer)]).pairs
    return sides in [(pair["chosen"], pair["rejected"]) for pair in pairs]


def is_found_wrong(row: dict[str, Any]) -> bool:
    """Whether the answer, called right when it was graded, is by now found wrong before the pair:
    the right sentences of a wrong answer are not varied."""
    known = facts(row["question"], row["reference"])
    return row["sampled"] == "chosen" and judge(row["prefix"], known).verdict == "wrong"


@pytest.mark.parametrize(
    "row", [r for r in ROWS if not all(r["grades"].values())], ids=lambda r: r["note"]
)
def test_no_pair_with_a_fault_is_made_again(row: dict[str, Any]) -> None:
    accepted = row["chosen"] == BARE or any(
        part in row["chosen"] for part in (*STYLE, *FRAMES, *KNOWN)
    )
    assert not is_made(row) or accepted


def test_most_good_pairs_are_made_still() -> None:
    good = [r for r in ROWS if all(r["grades"].values()) and not is_found_wrong(r)]
    assert sum(map(is_made, good)) >= 0.9 * len(good)
