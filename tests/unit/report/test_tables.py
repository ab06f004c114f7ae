"""What is compared, and what may be called better or worse."""

from __future__ import annotations

import re

import pyarrow as pa

from medray.config import Config, DataConfig, LoraConfig
from medray.ledger import read_steps
from medray.report.pairs.drop_reasons import drop_reasons
from medray.report.provenance import changed_settings, config_lines, settings_between
from medray.report.tables import (
    LEDGER_COLUMNS,
    Account,
    Tally,
    best_step,
    change,
    error_type_changes,
    evaluation_changes,
)
from medray.rundir import source_commit
from tests.support.paths import ROOT
from tests.unit.report.test_report import evaluation_of, make_run

EVALS = {0: evaluation_of(0.0, 0), 3: evaluation_of(0.8, 3), 6: evaluation_of(1.0, 6)}


def test_changes_have_counts_intervals_and_a_direction() -> None:
    rows = {row.key: row for row in evaluation_changes(EVALS)}
    row = rows["hallucination_rate"]
    assert (row.n, row.before.value, row.before.interval) == (300, "35.0 %", "32.0 to 38.0")
    assert (row.after.value, row.delta, row.verdict) == ("15.0 %", "−20.0 points", "better")
    assert row.best == "15.0 % (6)"
    assert rows["report_exact"].verdict == "better"
    assert rows["open_recall"].delta == "−1.0 points"
    assert rows["open_recall"].verdict == "unclear"  # the intervals overlap
    assert rows["open_recall"].best == "52.0 % (0)"
    assert best_step(EVALS, ["nothing", "open_recall"]) == ("open_recall", 0)
    assert not {"answers", "n", "clusters", "seconds"} & rows.keys()


def test_noise_is_neither_better_nor_worse() -> None:
    old = {"closed_accuracy": 0.50, "intervals": {"closed_accuracy": [0.4, 0.6]}}
    new = {"closed_accuracy": 0.65, "intervals": {"closed_accuracy": [0.55, 0.75]}}
    assert change("closed_accuracy", old, new).verdict == "unclear"
    paired = {"value": 0.15, "low": 0.01, "high": 0.3, "p": 0.04}
    clear = change("closed_accuracy", old, new, paired)
    assert (clear.verdict, clear.interval) == ("better", "+1.0 to +30.0")
    assert change("closed_accuracy", old, new, paired | {"low": 0.0}).verdict == "unclear"
    assert change("closed_accuracy", new, old, paired | {"low": -0.3, "high": -0.01}).verdict == (
        "worse"
    )
    assert change("closed_accuracy", {"closed_accuracy": 0.5}, new).verdict == ""  # not known
    assert change("closed_accuracy", old, {"closed_accuracy": 0.50004}).verdict == "same"
    assert change("closed_accuracy", old, {}).delta == ""


def test_error_types_have_what_was_asserted() -> None:
    rows = error_type_changes(EVALS, {"side": 7, "other": 1})
    assert [(row.label, row.n, row.count) for row in rows] == [
        *(("side", 100, 7), ("other", None, 1), ("size", 100, 0), ("zone", 100, 0))
    ]
    assert (rows[0].verdict, rows[2].verdict) == ("better", "same")


def account_of(*tables: pa.Table) -> Account:
    tally = Tally()
    for table in tables:
        tally.add(table)
    return tally.account()


def test_answers_are_counted_once(tmp_path) -> None:
    run = make_run(tmp_path, steps=2)
    account = account_of(*read_steps(run.ledger, LEDGER_COLUMNS))
    assert (account.answers, account.trained, account.dropped) == (16, 14, 2)
    assert account.edits == {"side": 6, "size": 4, "zone": 4}
    table = next(read_steps(run.ledger, LEDGER_COLUMNS))
    both = table.set_column(0, "item_id", [["one"] * table.num_rows])
    assert account_of(both).answers == 1


def test_settings_that_are_not_at_their_default() -> None:
    config = Config(data=DataConfig(kind="jsonl", path="/patients/Doe"))
    assert changed_settings(config) == []
    model = config.model.model_copy(update={"lora": LoraConfig(rank=4)})
    changed = config.model_copy(update={"model": model})
    found = {setting.key: setting for setting in changed_settings(changed)}
    assert (found["model.lora.rank"].value, found["model.lora.rank"].other) == ("4", "16")
    marked = [line.strip() for line, differs in config_lines(changed) if differs]
    assert "rank: 4" in marked
    assert "dtype: bfloat16" not in marked
    assert "Doe" not in str(config_lines(changed))
    full = config.model_copy(update={"model": config.model.model_copy(update={"lora": None})})
    between = {s.key: (s.value, s.other) for s in settings_between(config, full)}
    assert between["model.lora"] == ("null", "–")
    assert between["model.lora.rank"] == ("–", "16")


def test_what_to_do_is_what_the_documentation_says() -> None:
    text = (ROOT / "docs/run-directory.md").read_text(encoding="utf-8")
    part = text.partition("## Why an item was dropped")[2].partition("\n## ")[0]
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", part).replace("`", "")
    rows = re.findall(r"^\| ([a-z:-]+) \| (.*?) \| (.*?) \|$", plain, re.MULTILINE)
    known = drop_reasons()
    editing = (ROOT / "docs/editing.md").read_text(encoding="utf-8")
    guard = editing.partition("## The guard")[2].partition("\n## ")[0]
    of_guard = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|$", guard, re.MULTILINE))
    own = {name for name in known if name.removeprefix("abstained:") not in of_guard}
    assert {name for name, *_ in rows} == {"reason", *own}
    assert all(
        known[name][0] == of_guard[name.removeprefix("abstained:")] for name in known.keys() - own
    )
    for name, happened, todo in rows[1:]:
        assert known[name][0] == happened
        assert known[name][1] == todo or todo.startswith("as ")


def test_the_commit_is_known_in_a_repository() -> None:
    if (ROOT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{12}(\+changes)?", source_commit())
