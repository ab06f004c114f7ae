"""The answers of evaluations: those that a run kept, or a file of answers made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medray.data.stream import first_studies
from medray.errors import DataError, UserError
from medray.evaluation.answer_files import read_answers
from medray.evaluation.answers import AnswerRow
from medray.evaluation.metrics import score_answers
from medray.rundir import RunDirectory


def read_evaluations(run: Path, paths: Sequence[Path]) -> list[tuple[str, list[AnswerRow]]]:
    """(name, scored answers) of each path: a run, of which the newest evaluation is taken, or a
    .jsonl or .parquet file of answers. The cases are those that `run` evaluates.

    Raises UserError for more than two paths, DataError for answers that cannot be used.
    """
    if len(paths) > 2:
        raise UserError("--answers", f"is given {len(paths)} times", "compare two at a time")
    from medray.plan import open_data  # with torch, which no other page needs

    config, dataset = open_data(RunDirectory.open(run).read_config())
    cases = first_studies(dataset.heldout, config.eval.n)
    if not cases:
        raise DataError(str(run), "holds no case out", "give a run that evaluates")
    found = []
    for path in paths:
        file = _newest(path) if path.is_dir() else path
        answers, _ = read_answers(file, cases)
        rows = score_answers(cases, answers.texts, confidences=answers.confidences)
        found.append((str(path), rows))
    return found


def _newest(path: Path) -> Path:
    """The answers of a run's newest evaluation that kept them."""
    run = RunDirectory.open(path)
    files = [run.answers_file(step) for step in sorted(run.read_evals(), reverse=True)]
    for file in files:
        if file.exists():
            return file
    raise DataError(str(path), "has no evaluation with answers", "give a file, or another run")
