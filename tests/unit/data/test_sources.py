"""Rows out of files: pieces of any size, faults with their lines, memory that does not grow."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data import sources
from medray.data.readers.jsonl import stream_jsonl
from medray.data.sources import csv_rows, json_items, rows_of
from medray.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def items(path):
    return [(name, value) for name, _, value in json_items(path)]


@given(
    st.lists(st.dictionaries(st.text(), VALUES), max_size=5),
    st.integers(1, 40),
    st.sampled_from([None, 0, 3]),
    st.booleans(),
)
def test_a_list_is_read_in_pieces_of_any_size(tmp_path_factory, values, chunk, indent, ascii_only):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", chunk)
        assert items(path) == [("", value) for value in values]


def test_a_mapping_of_lists(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\ufeff{"train": [1, {"a": []}], "val": [],\n "test": ["x"]}\n')
    found = list(json_items(path))
    assert [(name, value) for name, _, value in found] == [
        ("train", 1),
        ("train", {"a": []}),
        ("test", "x"),
    ]
    assert found[-1][1] == f"{path}:2"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"a": 1},\n {"a": 2}\n {"a": 3}]', 3),
        ('[{"a": 1},\n\n {"a":\n 2,,}]', 4),
        ('[{"a": 1},\n {"a": "x]', 2),
        ('[{"a": 1},', 1),
        ('[{"a": 1}]\n[]', 2),
        ('[{"a": tru}]', 1),
        ('{"a": [1]\n "b": []}', 2),
        ("[" + "[" * 100_000, 1),
        ('[{"a": "\\ud83d\\ude00"},\n {"a": "\\ud83d"}]', 2),
        ("", 1),
        ("3", 1),
        ('"text"', 1),
        ('{"train": 3}', 1),
        ("{1: []}", 1),
    ],
)
@pytest.mark.parametrize("chunk", [7, 1 << 18])
def test_faults_have_their_line(tmp_path, monkeypatch, text, line, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        items(path)
    assert str(caught.value).startswith(f"{path}:{line}: is not ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'["\xff"]')
    (tmp_path / "a.csv.gz").write_bytes(b"not packed")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        items(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a\.csv\.gz"):
        list(csv_rows(tmp_path / "a.csv.gz", ("a",)))
    with pytest.raises(DataError, match="No such file"):
        items(tmp_path / "none.json")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is not a readable Parquet file"):
        list(rows_of(tmp_path / "a.parquet"))


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_archive_is_told_in_one_line(tmp_path_factory, at, value):
    path = tmp_path_factory.mktemp("gz") / "a.csv.gz"
    packed = bytearray(gzip.compress(b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(99))))
    packed[at % len(packed)] = value
    path.write_bytes(bytes(packed))
    told = ""
    try:
        assert all(set(row) >= {"a"} for _, row in csv_rows(path, ("a",)))
    except DataError as error:
        told = str(error)
    assert "\n" not in told


def test_lines_of_a_table_are_counted_with_line_feeds_inside(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n"x\ny",1\n2\n')
    rows = csv_rows(tmp_path / "a.csv", ("a",))
    assert next(rows)[1] == {"a": "x\ny", "b": "1"}
    with pytest.raises(DataError, match=r"a\.csv:4: has another number of fields"):
        next(rows)


def peak(rows) -> tuple[int, int]:
    """(rows, bytes held at most while they are read)."""
    tracemalloc.start()
    try:
        count = sum(1 for _ in rows)
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


FILLING = "The lungs are clear. " * 100


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    path = tmp_path / f"big.{kind}"
    row = {"id": "x", "report": FILLING}
    with path.open("w") as file:
        if kind == "csv":
            file.write("id,report\n" + f"x,{FILLING}\n" * 10_000)
        elif kind == "jsonl":
            file.write(f"{json.dumps(row)}\n" * 10_000)
        else:
            file.write("[" + f"{json.dumps(row)},\n" * 9_999 + json.dumps(row) + "]")
    size = path.stat().st_size
    assert size > 20_000_000
    rows = csv_rows(path, ("id",)) if kind == "csv" else rows_of(path)
    count, held = peak(rows)
    assert count == 10_000
    assert held < size / 8


def test_cases_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "records.jsonl"
    row = json.dumps({"image": "a.png", "question": "Q?", "answer": "x" * len(FILLING)})
    path.write_text(f"{row}\n" * 5_000)
    count, held = peak(stream_jsonl(str(path)))
    assert count == 5_000
    assert held < path.stat().st_size / 4
