"""Splits: groups are never divided, images never leak, the same seed gives the same cases."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config import DataConfig
from medray.data.dataset import open_dataset
from medray.data.splits import Row, leaks, shuffled, split_by_group
from medray.errors import DataError
from medray.records import Case


def row(index: int, image: str, patient: str = "", study: str = "") -> Row:
    case = Case(f"c{index}", f"{index}.png", image, "Q?", "yes", "closed", patient_id=patient)
    return Row(case, study_id=study)


def write(tmp_path, rows) -> str:
    base = {"question": "Q?", "answer": "yes"}
    lines = []
    for index, values in enumerate(rows):
        values = {"image": f"{index}.png", **values}
        (tmp_path / values["image"]).write_text(str(values.pop("bytes", index)))
        lines.append(json.dumps({"id": f"c{index}", **base, **values}))
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    return str(tmp_path)


def opened(path: str, seed: int = 0, **values):
    return open_dataset(DataConfig(kind="jsonl", path=path, seed=seed, **values))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=40),
    st.sampled_from(["image", "patient", "study"]),
    st.floats(0.01, 0.99),
    st.integers(0, 5),
)
def test_no_image_and_no_group_is_ever_on_both_sides(pairs, by, share, seed):
    rows = [row(i, f"im{a}", f"p{b}", f"s{b}") for i, (a, b) in enumerate(pairs)]
    train, heldout = split_by_group(rows, by, share, seed)
    assert sorted(c.case_id for c in (*train, *heldout)) == sorted(r.case.case_id for r in rows)
    assert leaks(train, heldout) == []
    if by != "image":
        assert not {c.patient_id for c in train} & {c.patient_id for c in heldout}
    assert train


def test_share_of_groups():
    rows = [row(i, f"im{i // 3}") for i in range(300)]
    train, heldout = split_by_group(rows, "image", 0.2, seed=0)
    assert (len(train), len(heldout)) == (240, 60)
    assert split_by_group(rows, "image", 0.001, seed=0)[1]  # never an empty side
    assert split_by_group(rows, "image", 0.999, seed=0)[0]


def test_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    rows = [row(i, f"im{i}") for i in range(50)]
    first = split_by_group(rows, "image", 0.3, seed=0)
    reversed_rows = split_by_group(rows[::-1], "image", 0.3, seed=0)
    assert [set(side) for side in first] == [set(side) for side in reversed_rows]
    assert set(first[1]) != set(split_by_group(rows, "image", 0.3, seed=1)[1])


def test_unreadable_images_are_grouped_by_path():
    same = [Row(Case(f"c{i}", "gone.png", "", "Q?", "", "open")) for i in range(3)]
    train, heldout = split_by_group([*same, row(9, "im")], "image", 0.5, seed=0)
    assert {len(train), len(heldout)} == {3, 1}


def test_files_with_the_same_bytes_are_one_image(tmp_path):
    data = opened(write(tmp_path, [{"bytes": i % 4} for i in range(40)]), heldout=0.5)
    assert (len(data.train), len(data.heldout)) == (20, 20)
    assert leaks(data.train, data.heldout) == []


def test_patient_split_needs_patients(tmp_path):
    path = write(tmp_path, [{"patient_id": "p"}, {}])
    with pytest.raises(DataError, match=r"case c1 has no patient_id — use data\.split=image"):
        opened(path, split="patient")


def test_own_split_is_used_and_its_leak_reported(tmp_path):
    splits = ["train", "train", "heldout", "test"]
    path = write(tmp_path, [{"split": s, "bytes": min(i, 2)} for i, s in enumerate(splits)])
    data = opened(path)
    assert {case.case_id for case in data.train} == {"c0", "c1"}
    assert "leak" not in " ".join(data.notes)
    leaking = opened(write(tmp_path, [{"split": s, "bytes": 0} for s in splits]))
    assert "leak: 1 of 1 held-out images are also in training" in " ".join(leaking.notes)


def test_patients_on_both_sides_are_counted_and_not_named(tmp_path):
    rows = [{"split": s, "patient_id": "Jones"} for s in ("train", "heldout")]
    notes = " ".join(opened(write(tmp_path, rows)).notes)
    assert "leak: 1 held-out patients are also in training; data.split=patient keeps" in notes
    assert "Jones" not in notes


def test_validation_is_heldout_unless_there_is_a_test_part(tmp_path):
    two = opened(write(tmp_path, [{"split": "train"}, {"split": "validation"}]))
    assert [case.case_id for case in two.heldout] == ["c1"]
    rows = [{"split": "train"}, {"split": "validation"}, {"split": "test"}]
    three = opened(write(tmp_path, rows))
    assert [case.case_id for case in three.heldout] == ["c2"]
    assert "1 validation cases are set aside" in three.notes[1]


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        ([], {}, "holds no case"),
        ([{}], {}, "the split leaves no held-out case"),
        ([{"bytes": 0}, {"bytes": 0}], {}, "the split leaves no held-out case"),
        ([{"split": "train"}], {}, "the split leaves no held-out case"),
        ([{"split": "test"}], {}, "the split leaves no training case"),
        ([{"split": "train"}, {}], {}, "case c1 has no split"),
        ([{}, {"split": "train"}], {}, "case c0 has no split"),
        ([{}, {}], {"split": "official"}, "case c0 has no split"),
    ],
)
def test_impossible_splits_are_refused(tmp_path, rows, values, message):
    with pytest.raises(DataError) as caught:
        opened(write(tmp_path, rows), **values)
    assert message in str(caught.value)


def test_limit_takes_the_first_of_a_seeded_order(tmp_path):
    path = write(tmp_path, [{} for _ in range(30)])
    full, few = opened(path), opened(path, limit=5)
    assert few.train == full.train[:5]
    assert few.heldout == full.heldout
    assert full.train == opened(path).train
    assert [case.case_id for case in full.train] != sorted(case.case_id for case in full.train)
    assert shuffled(full.train, 1) != full.train
    assert shuffled(full.train[::-1], 0) == full.train


def test_phantom_kind_reads_the_same_layout(tmp_path):
    rows = [{"split": "train"}, {"split": "heldout"}]
    config = DataConfig(kind="phantom", path=write(tmp_path, rows))
    data = open_dataset(config)
    assert (data.name, len(data.train), len(data.heldout)) == ("phantom", 1, 1)
