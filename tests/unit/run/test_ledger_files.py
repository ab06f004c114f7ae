"""Ledgers of long runs: many steps to a file, read and reopened without all their rows."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medray.ledger import Ledger, LedgerError, StepCounts, files, read_ledger, read_steps
from medray.ledger.files import list_files
from medray.records import Case, Dropped

CASE = Case("c", "a.png", "ab", "Is there a nodule?", "No.", "closed")


def run_on(ledger: Ledger, first: int, last: int) -> None:
    """Two drops at each step, but none at every seventh."""
    for step in range(first, last + 1):
        for name in "ab" if step % 7 else "":
            item = f"s{step:06d}-{name}"
            ledger.issue(step, [(item, CASE)])
            ledger.drop(Dropped(item, "c", step - 1, "abstained"))
        ledger.close_step(step)


BLOCK = 10  # instead of a hundred: each step waits for the disk twice
STEPS = 3 * BLOCK + 5


@pytest.fixture(autouse=True, scope="module")
def short_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", BLOCK)
        yield


@pytest.fixture(scope="module")
def finished(short_blocks, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_on(Ledger(folder), 1, STEPS)
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def expected(last: int) -> list[str]:
    return [f"s{step:06d}-{n}" for step in range(1, last + 1) if step % 7 for n in "ab"]


def ids(run: Path) -> list[str]:
    return read_ledger(run)["item_id"].to_pylist()


def test_blocks_that_lie_behind_are_one_file_each(run):
    names = [file.path.name for file in list_files(run / "ledger")]
    assert names[:2] == ["steps-000001-000010.parquet", "steps-000011-000020.parquet"]
    assert names[2:] == [f"step-{step:06d}.parquet" for step in range(21, STEPS + 1)]
    assert {path.name for path in (run / "ledger").iterdir()} == set(names)
    assert ids(run) == expected(STEPS)
    assert pq.read_table(run / "ledger/steps-000001-000010.parquet").num_rows == len(expected(10))


@pytest.mark.parametrize("step", [1, 7, 10, 11, 25, STEPS, STEPS + 1])
def test_one_step_is_read_alone(run, step):
    tables = [*read_steps(run / "ledger", ["item_id"], steps=[step])]
    found = [item for table in tables for item in table["item_id"].to_pylist()]
    assert found == [item for item in expected(STEPS) if item.startswith(f"s{step:06d}")]
    assert all(table.column_names == ["item_id"] for table in tables)


@pytest.mark.parametrize("last", [0, 1, 5, 9, 10, 15, 20, 23, STEPS])
def test_it_is_reopened_at_any_step(run, last):
    """In the middle of a file, too; and what is written after that is as in a run that never
    stopped."""
    ledger = Ledger.reopen(run, last)
    items = len(expected(last))
    assert ledger.totals == StepCounts(issued=items, dropped=items)
    assert ids(run) == expected(last)
    run_on(ledger, last + 1, STEPS)
    assert ids(run) == expected(STEPS)
    assert Ledger.reopen(run, STEPS).totals.dropped == len(expected(STEPS))
    assert not list((run / "ledger").glob(".*"))


def test_steps_share_row_groups_and_are_read_out_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GROUP", 6)
    run_on(Ledger(tmp_path), 1, STEPS)
    block = pq.ParquetFile(tmp_path / "ledger/steps-000001-000010.parquet")
    sizes = [block.metadata.row_group(i).num_rows for i in range(block.num_row_groups)]
    assert sizes == [6, 6, 6]  # steps 1-3, 4-6, 8-10; none has rows of a seventh
    assert ids(tmp_path) == expected(STEPS)
    for wanted in ([3, 4], [7], [2, 9, 21], range(5, 14), [STEPS, STEPS + 1]):
        tables = read_steps(tmp_path / "ledger", ["item_id", "step"], steps=wanted)
        found = [item for table in tables for item in table["item_id"].to_pylist()]
        assert found == [item for item in expected(STEPS) if int(item[1:7]) in wanted]


def test_a_kill_between_writing_a_block_and_deleting_its_parts_loses_and_doubles_nothing(run):
    parts = {path.name: path.read_bytes() for path in (run / "ledger").iterdir()}
    ledger = Ledger.reopen(run, STEPS)
    run_on(ledger, STEPS + 1, 4 * BLOCK)
    for name, data in parts.items():
        if "000025" < name.partition("-")[2] < "000028":
            (run / "ledger" / name).write_bytes(data)
    assert ids(run) == expected(4 * BLOCK)
    again = Ledger.reopen(run, 4 * BLOCK)
    assert again.totals.dropped == len(expected(4 * BLOCK))
    assert ids(run) == expected(4 * BLOCK)
    assert not (run / "ledger/step-000026.parquet").exists()


def test_a_lost_block_is_named(run):
    (run / "ledger/steps-000011-000020.parquet").unlink()
    with pytest.raises(LedgerError, match="step 11 is missing"):
        Ledger.reopen(run, STEPS)


def test_memory_holds_no_ended_item(tmp_path):
    ledger = Ledger(tmp_path)
    run_on(ledger, 1, 10)
    kept = [ledger._issued, ledger._open, ledger._ending, ledger._responses, ledger._rows]
    assert not any(kept)


def test_nothing_waits_for_the_garbage_collector(run):
    """A driver of 100,000 steps, in which it looks rarely, would keep the metadata of all files."""
    gc.collect()
    gc.disable()
    try:
        assert len(list(read_steps(run / "ledger", ["step"]))) > 3
        run_on(Ledger.reopen(run, STEPS), STEPS + 1, STEPS + BLOCK)  # merges files, too
        kept = [each for each in gc.get_objects() if isinstance(each, pq.FileMetaData)]
        assert kept == []
    finally:
        gc.enable()
