"""Pairs of eleven sets, graded before their faults were mended: no fault is made again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.datasets.graded_pairs import GRADED, made

FILE = GRADED.with_name("fresh_pairs.jsonl")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
STYLE = ("ground-glass opacities with a lower lobe", "Clear lungs.")  # true, and longer than needed


def is_made(row: dict[str, Any]) -> bool:
    """Whether the pair is made of its answer's beginning."""
    answer = row["prefix"] + row[row["sampled"]]
    sides = (row["chosen"], row["rejected"])
    pairs = made([(row["question"], row["reference"], answer)]).pairs
    return sides in [(pair["chosen"], pair["rejected"]) for pair in pairs]


@pytest.mark.parametrize(
    "row", [r for r in ROWS if not all(r["grades"].values())], ids=lambda r: r["note"]
)
def test_no_pair_with_a_fault_is_made_again(row: dict[str, Any]) -> None:
    assert not is_made(row) or any(part in row["chosen"] for part in STYLE)


def test_most_good_pairs_are_made_still() -> None:
    good = [row for row in ROWS if all(row["grades"].values())]
    assert sum(map(is_made, good)) >= 0.9 * len(good)
