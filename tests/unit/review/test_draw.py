"""Pairs are drawn at random, evenly over error types, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from medray.errors import DataError
from medray.ledger import SCHEMA
from medray.ledger.files import Counts, write_step
from medray.review import draw_pairs
from medray.review.draw import UNMARKED, error_type, find_gradable
from medray.rundir import RunDirectory

Written = Callable[[pa.Table], RunDirectory]


@pytest.fixture
def written(tmp_path_factory) -> Written:
    """A run with these rows, and nothing else."""

    def write(table: pa.Table) -> RunDirectory:
        run = RunDirectory(tmp_path_factory.mktemp("run"))
        run.ledger.mkdir()
        steps = table["step"].to_numpy()
        for step in range(1, steps.max() + 1):
            rows = table.filter(pa.array(steps == step))
            write_step(run.ledger, step, rows, Counts(), Counts())
        return run

    return write


def span(kind: str, severity: float = 1.0) -> dict:
    return {"start": 0, "end": 4, "error_type": kind, "severity": severity, "reason": ""}


def row(number: int, kind: str, **changes) -> dict:
    return {
        "pair_id": f"p{number}",
        "step": 1 + number // 10,
        "chosen": f"left {number}",
        "rejected": f"right {number}",
        "rejected_spans": [span(kind)],
        "chosen_spans": [span(kind)],
        "response_was_correct": number % 2 == 0,
        "status": "trained",
        "loss": 0.5 + number / 1000,
        **changes,
    }


def ledger(**counts: int) -> pa.Table:
    kinds = [kind for kind, n in counts.items() for _ in range(n)]
    return pa.Table.from_pylist([row(i, kind) for i, kind in enumerate(kinds)], schema=SCHEMA)


def test_rare_error_types_are_drawn_as_often_as_common_ones(written):
    run = written(ledger(side=200, size=40, zone=3))
    rows, key = draw_pairs(run, 30, seed=0)
    kinds = Counter(entry.error_type for entry in key.pairs.values())
    assert kinds["zone"] == 3
    assert sorted((kinds["side"], kinds["size"])) == [13, 14]
    assert len({entry.pair_id for entry in key.pairs.values()}) == len(rows) == 30
    assert key.trained == {"side": 200, "size": 40, "zone": 3}


def test_the_key_names_the_rows_in_their_order(written):
    rows, key = draw_pairs(written(ledger(side=20, size=20)), 10, seed=0)
    for drawn, entry in zip(rows, key.pairs.values(), strict=True):
        assert (entry.pair_id, entry.step) == (drawn["pair_id"], drawn["step"])
        assert entry.corrected is not drawn["response_was_correct"]


def test_the_same_seed_gives_the_same_review_and_another_one_another(written):
    run = written(ledger(side=200, size=40))
    first, again, other = (draw_pairs(run, 20, seed) for seed in (0, 0, 1))
    assert first == again
    assert first[1].id == again[1].id != other[1].id
    assert {row["pair_id"] for row in first[0]} != {row["pair_id"] for row in other[0]}
    assert not first[1].pairs.keys() & other[1].pairs.keys()


def test_sides_ids_and_order_depend_on_what_the_page_does_not_show(written):
    table = ledger(side=50)
    losses = pa.array([0.1] * 50)
    changed = table.set_column(table.schema.get_field_index("loss"), "loss", losses)
    one, other = (draw_pairs(written(t), 50, 0)[1] for t in (table, changed))
    assert not one.pairs.keys() & other.pairs.keys()
    sides = [{e.pair_id: e.chosen for e in key.pairs.values()} for key in (one, other)]
    assert sides[0].keys() == sides[1].keys()
    assert sides[0] != sides[1]


@pytest.mark.parametrize("n", [10, 11])
def test_half_of_the_chosen_sides_are_a(n, written):
    run = written(ledger(side=30, size=30))
    for seed in range(5):
        _, key = draw_pairs(run, n, seed)
        a = sum(entry.chosen == "A" for entry in key.pairs.values())
        assert a in (n // 2, n - n // 2)


def test_sides_do_not_follow_the_place_in_the_page(written):
    """Over many seeds, A is chosen about as often first as last: 5 sigma of 200 draws."""
    run = written(ledger(side=9))
    firsts = [
        next(iter(draw_pairs(run, 8, seed)[1].pairs.values())).chosen == "A" for seed in range(200)
    ]
    assert abs(sum(firsts) - 100) < 5 * (200 / 4) ** 0.5


def test_a_small_run_gives_all_its_pairs(written):
    rows, _ = draw_pairs(written(ledger(side=3, size=1)), 50, seed=0)
    assert sorted(row["pair_id"] for row in rows) == ["p0", "p1", "p2", "p3"]


def test_only_trained_pairs_with_two_different_texts_are_drawn(written):
    rows = [
        row(0, "side"),
        row(1, "side", status="dropped"),
        row(2, "side", status="skipped"),
        row(3, "side", rejected=None),
        row(4, "side", rejected=""),
        row(5, "side", rejected="left 5"),  # the images differ, the texts do not
    ]
    drawn, _ = draw_pairs(written(pa.Table.from_pylist(rows, schema=SCHEMA)), 9, seed=0)
    assert [row["pair_id"] for row in drawn] == ["p0"]
    with pytest.raises(DataError, match="no trained pair"):
        draw_pairs(written(pa.Table.from_pylist(rows[1:], schema=SCHEMA)), 9, seed=0)


def test_a_pair_is_of_the_type_of_its_most_severe_edit():
    mild, severe = span("size", 0.5), span("side", 1.0)
    assert error_type(row(0, "x", rejected_spans=[mild, severe], chosen_spans=None)) == "side"
    assert error_type(row(0, "x", rejected_spans=None, chosen_spans=None)) == UNMARKED
    assert error_type(row(0, "x", rejected_spans=[span("")], chosen_spans=[])) == UNMARKED


def test_types_are_found_as_of_single_rows(written):
    """Of random edits, also equally severe ones and some without a type or a severity."""
    chance = np.random.default_rng(0)

    def edits() -> list[dict] | None:
        kinds, severities = ("side", "size", "zone", "", None), (0.5, 1.0, 1.0, None)
        drawn = [
            span(kinds[chance.integers(5)], severities[chance.integers(4)])
            for _ in range(chance.integers(4))
        ]
        return drawn if chance.integers(5) else None

    rows = [row(i, "x", rejected_spans=edits(), chosen_spans=edits()) for i in range(300)]
    run = written(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert {len(row["rejected_spans"] or ()) for row in rows} == {0, 1, 2, 3}
    found = find_gradable(run).places
    types = {(1 + i // 10, i % 10): error_type(row) for i, row in enumerate(rows)}
    assert {
        (step, index): name for name, places in found.items() for step, index in places.tolist()
    } == types
    drawn, key = draw_pairs(run, 300, seed=0)
    assert [error_type(row) for row in drawn] == [e.error_type for e in key.pairs.values()]


def test_rows_of_one_step_are_not_in_its_order(written):
    """Else the page's order would say how the policy answered first, and how last."""
    rows = [row(i, "side", step=1) for i in range(40)]
    drawn, _ = draw_pairs(written(pa.Table.from_pylist(rows, schema=SCHEMA)), 40, seed=0)
    numbers = [int(row["pair_id"][1:]) for row in drawn]
    assert sorted(numbers) == list(range(40)) != numbers
