"""Runs for tests of pages: with kept answers, and long ones."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medray.data.dataset import open_dataset
from medray.evaluation.answer_files import answer_table
from medray.evaluation.metrics import score_answers, summarise
from medray.ledger import Ledger
from medray.records import Dropped, Pair, PairScore, Response, Span
from medray.rundir import RunDirectory
from tests.support.datasets.token_ratios import token_ratios
from tests.unit.report.test_report import BIDI, EVIL, KINDS, make_run, metrics_of


def write_answers(run: RunDirectory, *, evil: bool = False, right: int = 1) -> None:
    """Evaluations with their answers: in the last one, all held-out answers are wrong but `right`;
    before, the first `right` and one more were right."""
    heldout = open_dataset(run.read_config().data).heldout
    good, bad = "There is a nodule in the left apex.", "There is a nodule in the right apex."
    steps = sorted(run.read_evals())
    for step in (steps[0], steps[-1]):
        kept = right + (step == steps[0])
        texts = {
            case.case_id: (good if i < kept else bad) + (f" {EVIL} {BIDI}" if evil else "")
            for i, case in enumerate(heldout)
        }
        rows = score_answers(heldout, texts)
        table = answer_table(rows)
        if evil:  # the editor may abstain on such texts
            at = table.schema.get_field_index("verdict")
            table = table.set_column(at, "verdict", pa.array(["wrong"] * len(rows)))
        run.write_eval(step, summarise(rows) | {"seconds": 1.0, "policy_version": step})
        pq.write_table(table, run.answers_file(step))


def make_long_run(folder: Path, *, steps: int = 50, of_step: int = 60) -> RunDirectory:
    """A run of steps × of_step answers, each in several sentences; every sixth is dropped."""
    run = make_run(folder, steps=1)
    cases = open_dataset(run.read_config().data).train
    ledger, rng = Ledger.reopen(run.path, 1), random.Random(0)
    sentences = ("The heart is normal.", "No effusion is seen.", "A line ends in the upper cava.")
    for step in range(2, steps + 2):
        for i in range(of_step):
            case, item = cases[i % len(cases)], f"s{step}-{i}"
            answer = "There is a small nodule in the right apex. " + " ".join(
                rng.choice(sentences) for _ in range(5)
            )
            ledger.issue(step, [(item, case)])
            ledger.response(Response(item, case.case_id, step - 1, answer, (1,), (-0.1,), True))
            if i % 6 == 5:
                reason = "abstained:residual-claim"
                ledger.drop(Dropped(item, case.case_id, step - 1, reason))
            else:
                pair = _pair(item, case.case_id, step - 1, answer, KINDS[i % 3])
                score = PairScore(item, rng.random(), -3.0, -4.0, -3.2, -3.9)
                ledger.trained(pair, score, tokens=token_ratios(pair, rng))
        counts = ledger.close_step(step)
        run.append_metrics(metrics_of(step, counts.trained, counts.dropped, rng))
    return run


def _pair(item: str, case_id: str, version: int, answer: str, error_type: str) -> Pair:
    start = answer.find("right")
    return Pair(
        pair_id=item,
        item_id=item,
        case_id=case_id,
        policy_version=version,
        chosen=answer.replace("right", "left", 1),
        rejected=answer,
        chosen_spans=(Span(start, start + 4, error_type, 1.0, ""),),
        rejected_spans=(Span(start, start + 5, error_type, 1.0, ""),),
        response_was_correct=False,
        relevance=0.8,
        editor="findings",
    )
