"""Rows read from files: any chunk size, errors with their location, bounded memory."""

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
@pytest.mark.slow
def test_a_list_is_read_in_chunks_of_any_size(tmp_path_factory, values, chunk, indent, ascii_only):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", chunk)
        assert items(path) == [("", value) for value in values]


def test_a_mapping_of_lists(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\ufeff{"train": [1, {"a": []}], "val": [],\n "test": ["x"]}\n')
    rows = list(json_items(path))
    assert [(name, value) for name, _, value in rows] == [
        ("train", 1),
        ("train", {"a": []}),
        ("test", "x"),
    ]
    assert rows[-1][1] == f"{path}: row 3"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[{"a": 1},\n {"a": 2}\n {"a": 3}]', ": after row 2"),
        ('[{"a": 1},\n\n {"a":\n 2,,}]', ": after row 1"),
        ('[{"a": 1},\n {"a": "x]', ": after row 1"),
        ('[{"a": 1},', ": after row 1"),
        ('[{"a": 1}]\n[]', ": after row 1"),
        ('[1]"', ": after row 1"),
        ('[{"a": tru}]', ""),
        ('{"a": [1]\n "b": []}', ": after row 1"),
        ("[" + "[" * 100_000, ""),
        ("[" + "[" * 1_000 + "]" * 1_000 + "]", ""),
        ("", ""),
        ("3", ""),
        ('"text"', ""),
        ('{"train": 3}', ""),
        ("{1: []}", ""),
        ("[1" + "0" * 5_000 + "]", ""),
        ("[1e99999999999999999999]", ""),
        ("[01]", ": after row 1"),
        ("[-NaN]", ""),
        ("[nan]", ""),
        ("[1Infinity]", ": after row 1"),
        ('["a\tb"]', ""),
    ],
)
@pytest.mark.parametrize("chunk", [7, 1 << 18])
def test_json_errors_name_the_row_before_them(tmp_path, monkeypatch, text, where, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        items(path)
    assert str(caught.value).startswith(f"{path}{where}: is not ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "half", [r"\ud83d", r"\udc00", r"\ud83d\u0041", r"\uDE00\uD83D", r"\\\ud83d", r"\ud83d\\ude00"]
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_half_of_a_surrogate_pair_is_refused(tmp_path, monkeypatch, half, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(f'[{{"a": "\\ud83d\\ude00"}}, {{"b": "\\\\ud83d"}},\n {{"a": "x{half}"}}]')
    with pytest.raises(DataError, match=r"is not valid JSON \(holds half of a character\)"):
        items(path)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_values_are_those_of_json(tmp_path, monkeypatch, chunk):
    """Including the numbers that only Python writes, and text that looks like them."""
    monkeypatch.setattr(sources, "CHUNK", chunk)
    text = (
        "[NaN, Infinity, -Infinity, 1e400, -0, -0.0, 1E5, 1.0, 0.1, 5e-324, 123456789012345678901,"
        ' "NaN", "\\"Infinity", "\\\\", {"-Infinity": [NaN]}, "\\u00e9\\ud83d\\ude00\\u0000",'
        ' {"a": 1, "b": 2, "a": 3}, "9e999999999999999", true, null, [], "' + "7" * 5_000 + '"]'
    )
    path = tmp_path / "a.json"
    path.write_text(text)
    assert repr([value for _, value in items(path)]) == repr(json.loads(text))


def test_no_text_of_the_file_is_quoted(tmp_path):
    (tmp_path / "a.json").write_text('[{"patient": "Jones", x}]')
    with pytest.raises(DataError) as caught:
        items(tmp_path / "a.json")
    assert "Jones" not in str(caught.value)


def test_a_compressed_list(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps([{"a": i} for i in range(9)]).encode()))
    assert len(items(path)) == 9
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="is cut short"):
        items(path)


def test_files_that_are_not_text(tmp_path):
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
def test_a_damaged_archive_gives_a_one_line_error(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("gz") / "a.csv.gz"
    packed = bytearray(gzip.compress(b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(99))))
    packed[position % len(packed)] = value
    path.write_bytes(bytes(packed))
    message = ""
    try:
        assert all(set(row) >= {"a"} for _, row in csv_rows(path, ("a",)))
    except DataError as error:
        message = str(error)
    assert "\n" not in message


def test_line_numbers_of_a_table_count_line_feeds_inside_fields(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n"x\ny",1\n2\n')
    rows = csv_rows(tmp_path / "a.csv", ("a",))
    assert next(rows)[1] == {"a": "x\ny", "b": "1"}
    with pytest.raises(DataError, match=r"a\.csv:4: has a different number of fields"):
        next(rows)


def peak(rows) -> tuple[int, int]:
    """(number of rows, peak bytes of memory while they are read)."""
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
    count, memory = peak(rows)
    assert count == 10_000
    assert memory < size / 8


def test_cases_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "records.jsonl"
    row = json.dumps({"image": "a.png", "question": "Q?", "answer": "x" * len(FILLING)})
    path.write_text(f"{row}\n" * 5_000)
    count, memory = peak(stream_jsonl(str(path)))
    assert count == 5_000
    assert memory < path.stat().st_size / 4
