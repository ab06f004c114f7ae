"""The ledger: every issued id ends exactly once, also across a kill and a resume."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medray.errors import RunFailed, UserError
from medray.ledger import SCHEMA, Ledger, LedgerError, StepCounts, read_ledger
from medray.records import Case, Dropped, Pair, PairScore, Response, Span, TokenRatio, TokenRatios

COLUMNS = """
    pair_id item_id case_id sentence scope step policy_version image_sha256 other_images_sha256
    corrupted_sha256 region_source corruption question
    reference response prefix chosen rejected chosen_spans rejected_spans
    response_was_correct relevance editor status drop_reason loss chosen_logp rejected_logp
    chosen_ref_logp rejected_ref_logp visual_contrast chosen_tokens rejected_tokens
"""
CASE = Case(
    case_id="c",
    image="a.png",
    image_sha256="ab",
    question="Is there a nodule?",
    reference="Yes, on the left.",
    answer_type="open",
    patient_id="SECRET-PATIENT",
)


def response(item: str) -> Response:
    return Response(item, "c", 3, "Yes, on the right.", (1, 2), (-0.1, -0.2), True)


def pair(item: str) -> Pair:
    return Pair(
        pair_id=item,
        item_id=item,
        case_id="c",
        policy_version=3,
        chosen="Yes, on the left.",
        rejected="Yes, on the right.",
        chosen_spans=(Span(12, 16, "side", 1.0, "reference: left"),),
        rejected_spans=(Span(12, 17, "side", 1.0, "reference: left"),),
        response_was_correct=False,
        relevance=0.75,
        editor="findings",
    )


def score(item: str, loss: float = 0.69) -> PairScore:
    return PairScore(item, loss, -1.0, -2.0, -1.5, -1.5)


def train(ledger: Ledger, item: str, step: int = 1) -> None:
    ledger.issue(step, [(item, CASE)])
    ledger.response(response(item))
    ledger.trained(pair(item), score(item))


def test_schema_is_the_documented_one(tmp_path: Path) -> None:
    assert SCHEMA.names == COLUMNS.split()
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    ledger.close_step(1)
    written = pq.read_table(tmp_path / "ledger" / "step-000001.parquet")
    assert written.schema.equals(SCHEMA)
    assert not list((tmp_path / "ledger").glob(".*"))  # no temporary name remains


def test_rows_hold_question_answer_pair_and_outcome(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    ledger.issue(1, [("b", CASE), ("d", CASE), ("e", CASE)])
    ledger.drop(Dropped("b", "c", 3, "image-missing"))
    ledger.response(response("d"))
    ledger.drop(Dropped("d", "c", 3, "edit-too-large"))
    ledger.response(response("e"))
    ledger.skipped(pair("e"), score("e", math.nan))
    assert ledger.close_step(1) == StepCounts(issued=4, trained=1, dropped=3, in_flight=0, pairs=1)
    rows = {row["pair_id"]: row for row in read_ledger(tmp_path).to_pylist()}
    a = rows["a"]
    assert (a["status"], a["drop_reason"], a["step"], a["policy_version"]) == (
        "trained",
        None,
        1,
        3,
    )
    assert a["response"] == a["rejected"] == "Yes, on the right."
    assert a["rejected_spans"] == [
        {"start": 12, "end": 17, "error_type": "side", "severity": 1.0, "reason": "reference: left"}
    ]
    assert (a["response_was_correct"], a["loss"], a["chosen_ref_logp"]) == (False, 0.69, -1.5)
    assert a["corrupted_sha256"] is None
    b = rows["b"]
    assert (b["status"], b["drop_reason"], b["response"]) == ("dropped", "image-missing", None)
    assert (b["chosen"], b["response_was_correct"], b["question"]) == (None, None, CASE.question)
    assert rows["d"]["response"] == "Yes, on the right."
    e = rows["e"]
    assert (e["status"], e["drop_reason"], e["loss"]) == ("skipped", "non-finite-loss", None)


def test_log_ratios_by_token_of_the_pairs_that_have_them(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.issue(1, [("a", CASE)])
    ledger.response(response("a"))
    left, end = TokenRatio(0, 17, 0.25), TokenRatio(17, 17, math.nan)
    ledger.trained(pair("a"), score("a"), tokens=TokenRatios("a", (left, end), (end,)))
    train(ledger, "b")
    ledger.close_step(1)
    a, b = read_ledger(tmp_path).to_pylist()
    assert a["chosen_tokens"] == [
        {"start": 0, "end": 17, "log_ratio": 0.25},
        {"start": 17, "end": 17, "log_ratio": None},
    ]
    assert a["rejected_tokens"] == a["chosen_tokens"][1:]
    assert (b["chosen_tokens"], b["rejected_tokens"]) == (None, None)


def test_no_patient_id_reaches_the_disk(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    ledger.close_step(1)
    assert "SECRET-PATIENT" not in str(read_ledger(tmp_path).to_pylist())


def test_in_flight_items_belong_to_the_step_they_end_in(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    ledger.issue(2, [("b", CASE)])
    assert ledger.close_step(1) == StepCounts(issued=2, trained=1, dropped=0, in_flight=1, pairs=1)
    assert ledger.in_flight == ("b",)
    ledger.response(response("b"))
    ledger.trained(pair("b"), score("b"))
    assert ledger.close_step(2) == StepCounts(issued=0, trained=1, dropped=0, in_flight=0, pairs=1)
    assert ledger.totals == StepCounts(issued=2, trained=2, dropped=0, in_flight=0, pairs=2)
    assert ledger.totals.balanced
    assert read_ledger(tmp_path)["step"].to_pylist() == [1, 2]


def test_an_id_ends_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    with pytest.raises(LedgerError, match="a: was recorded twice"):
        ledger.trained(pair("a"), score("a"))
    with pytest.raises(LedgerError, match="a: was recorded twice"):
        ledger.drop(Dropped("a", "c", 3, "late"))
    with pytest.raises(LedgerError, match="a: was issued twice"):
        ledger.issue(1, [("a", CASE)])
    ledger.close_step(1)
    with pytest.raises(LedgerError, match="step 1: items were issued after it was closed"):
        ledger.issue(1, [("b", CASE)])
    with pytest.raises(LedgerError, match="a: was never issued, or ended in an earlier step"):
        ledger.drop(Dropped("a", "c", 3, "late"))


def sentence_pair(item: str, number: int) -> Pair:
    return replace(
        pair(f"{item}.{number}"), item_id=item, scope="sentence", sentence=number, prefix="Yes. "
    )


def test_an_answer_ends_once_in_all_its_pairs(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.issue(1, [("a", CASE), ("b", CASE)])
    for item in "ab":
        ledger.response(response(item))
    ledger.trained(sentence_pair("a", 0), score("a.0"))
    ledger.trained(sentence_pair("a", 2), score("a.2"))
    ledger.trained(pair("b"), score("b"))
    with pytest.raises(LedgerError, match=r"a\.2: was recorded twice"):
        ledger.trained(sentence_pair("a", 2), score("a.2"))
    with pytest.raises(LedgerError, match="a: is skipped and trained"):
        ledger.skipped(sentence_pair("a", 3), score("a.3"))
    with pytest.raises(LedgerError, match="a: was recorded twice"):
        ledger.drop(Dropped("a", "c", 3, "abstained"))
    assert ledger.close_step(1) == StepCounts(issued=2, trained=2, dropped=0, in_flight=0, pairs=3)
    with pytest.raises(LedgerError, match="ended in an earlier step"):
        ledger.trained(sentence_pair("a", 4), score("a.4"))
    rows = read_ledger(tmp_path).to_pylist()
    names = [(r["pair_id"], r["item_id"], r["scope"], r["sentence"], r["prefix"]) for r in rows]
    assert names == [
        ("a.0", "a", "sentence", 0, "Yes. "),
        ("a.2", "a", "sentence", 2, "Yes. "),
        ("b", "b", "answer", 0, ""),
    ]
    assert {row["response"] for row in rows} == {"Yes, on the right."}
    totals = StepCounts(issued=2, trained=2, dropped=0, in_flight=0, pairs=3)
    assert Ledger.reopen(tmp_path, 1).totals == totals


def test_rows_of_a_version_with_one_row_per_item_still_count(tmp_path: Path) -> None:
    """Their columns are missing; what a footer of that version lacks is another matter."""
    folder = closed_run(tmp_path) / "ledger"
    for path in folder.iterdir():
        table = pq.read_table(path)
        metadata = table.schema.metadata
        old = table.drop_columns(["item_id", "sentence", "scope", "prefix"])
        pq.write_table(old.replace_schema_metadata(metadata), path)
    totals = Ledger.reopen(tmp_path, 3).totals
    assert (totals.issued, totals.trained, totals.dropped) == (6, 3, 3)
    assert read_ledger(tmp_path)["item_id"].to_pylist() == [None] * 6


def test_an_id_must_be_known_and_consistent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(LedgerError, match="x: was never issued"):
        ledger.drop(Dropped("x", "c", 3, "lost"))
    ledger.issue(1, [("a", CASE)])
    with pytest.raises(LedgerError, match="without a reason"):
        ledger.drop(Dropped("a", "c", 3, " "))
    with pytest.raises(LedgerError, match="without a response"):
        ledger.trained(pair("a"), score("a"))
    with pytest.raises(LedgerError, match="issued for c, ended for z"):
        ledger.drop(Dropped("a", "z", 3, "lost"))
    ledger.response(response("a"))
    with pytest.raises(LedgerError, match="score of b"):
        ledger.trained(pair("a"), score("b"))
    with pytest.raises(LedgerError, match="loss of nan"):
        ledger.trained(pair("a"), score("a", math.nan))
    with pytest.raises(LedgerError, match="version 2"):
        ledger.drop(Dropped("a", "c", 2, "stale"))
    with pytest.raises(LedgerError, match="two responses"):
        ledger.response(Response("a", "c", 3, "No.", (), (), True))
    ledger.drop(Dropped("a", "c", 3, "lost"))  # none of the above was recorded
    assert ledger.close_step(1) == StepCounts(issued=1, trained=0, dropped=1, in_flight=0)


def test_a_violated_identity_stops_the_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    ledger._rows.pop()  # as if a row were lost
    with pytest.raises(LedgerError, match="does not balance") as caught:
        ledger.close_step(1)
    assert isinstance(caught.value, RunFailed)
    assert not (tmp_path / "ledger" / "step-000001.parquet").exists()


def test_steps_are_closed_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(LedgerError, match="step 2"):
        ledger.close_step(2)
    ledger.close_step(1)  # no item ended: still a file, without rows
    with pytest.raises(LedgerError, match="step 1"):
        ledger.close_step(1)
    assert read_ledger(tmp_path).num_rows == 0


def test_a_fresh_ledger_refuses_an_old_directory(tmp_path: Path) -> None:
    Ledger(tmp_path).close_step(1)
    with pytest.raises(LedgerError, match="earlier run"):
        Ledger(tmp_path)


def closed_run(folder: Path) -> Path:
    ledger = Ledger(folder)
    for step in (1, 2, 3):
        train(ledger, f"t{step}", step)
        ledger.issue(step, [(f"d{step}", CASE)])
        ledger.drop(Dropped(f"d{step}", "c", 3, "abstained"))
        ledger.close_step(step)
    return folder


def test_reopen_returns_to_the_checkpoint(tmp_path: Path) -> None:
    closed_run(tmp_path)
    (tmp_path / "ledger" / ".step-000004.parquet.tmp").write_bytes(b"cut short")
    ledger = Ledger.reopen(tmp_path, 2)
    assert ledger.totals == StepCounts(issued=4, trained=2, dropped=2, in_flight=0, pairs=2)
    assert sorted(p.name for p in (tmp_path / "ledger").iterdir()) == [
        "step-000001.parquet",
        "step-000002.parquet",
    ]
    with pytest.raises(LedgerError, match="step 2: items were issued after it was closed"):
        ledger.issue(2, [("t2", CASE)])
    train(ledger, "t3", 3)  # its row was deleted: it is trained again
    assert ledger.close_step(3) == StepCounts(issued=1, trained=1, dropped=0, in_flight=0, pairs=1)
    ids = read_ledger(tmp_path)["pair_id"].to_pylist()
    assert ids == ["t1", "d1", "t2", "d2", "t3"]


def test_items_in_flight_can_be_issued_again_after_reopen(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    train(ledger, "a")
    ledger.issue(2, [("b", CASE)])
    ledger.close_step(1)
    again = Ledger.reopen(tmp_path, 1)
    assert again.totals == StepCounts(issued=1, trained=1, dropped=0, in_flight=0, pairs=1)
    train(again, "b", 2)
    assert again.close_step(2).trained == 1


def test_reopen_at_step_0_deletes_everything(tmp_path: Path) -> None:
    closed_run(tmp_path)
    assert Ledger.reopen(tmp_path, 0).totals == StepCounts()
    assert read_ledger(tmp_path).num_rows == 0


def test_reopen_detects_missing_and_foreign_steps(tmp_path: Path) -> None:
    folder = closed_run(tmp_path) / "ledger"
    with pytest.raises(LedgerError, match="ends at step 3"):
        Ledger.reopen(tmp_path, 5)
    second = (folder / "step-000002.parquet").read_bytes()
    (folder / "step-000002.parquet").unlink()
    with pytest.raises(LedgerError, match="step 2 is missing"):
        Ledger.reopen(tmp_path, 3)
    (folder / "step-000002.parquet").write_bytes((folder / "step-000003.parquet").read_bytes())
    with pytest.raises(LedgerError, match=r"step-000002\.parquet does not follow"):
        Ledger.reopen(tmp_path, 3)
    (folder / "step-000002.parquet").write_bytes(second)
    third = pq.read_table(folder / "step-000003.parquet")
    for changed in (third.slice(1), third.replace_schema_metadata(None)):
        pq.write_table(changed, folder / "step-000003.parquet")
        with pytest.raises(LedgerError, match=r"step-000003\.parquet: is not a ledger file"):
            Ledger.reopen(tmp_path, 3)
    assert len(list(folder.iterdir())) == 3  # a refusal deletes nothing


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    folder = closed_run(tmp_path) / "ledger"
    (folder / "step-000003.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"step-000003\.parquet: is not a ledger file"):
        read_ledger(tmp_path)


def test_lone_surrogates_do_not_stop_a_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.issue(1, [("a", CASE)])
    ledger.response(Response("a", "c", 3, "bad \ud800 text", (), (), True))
    ledger.drop(Dropped("a", "c", 3, "abstained"))
    ledger.close_step(1)
    assert read_ledger(tmp_path)["response"].to_pylist() == ["bad ? text"]
