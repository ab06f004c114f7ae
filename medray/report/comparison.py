"""Two evaluations on the same cases, paired answer by answer; and two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medray.config import Config
from medray.errors import DataError
from medray.records import Case
from medray.report.charts import Chart
from medray.report.figures import overlaid_charts
from medray.report.provenance import Setting, settings_between
from medray.report.tables import Change, Differences, compared, error_type_changes
from medray.report.vocabulary import APPLIES, EVAL_METRICS
from medray.rundir import RunDirectory

MOST_ANSWERS = 6000  # scored again for a paired comparison: more would take minutes


@dataclass(frozen=True, slots=True)
class Against:
    """The last evaluation of another run beside this one's, and what else differs."""

    name: str
    steps: tuple[int, int]  # of the two evaluations: theirs, ours
    changes: list[Change]
    other_changes: list[Change]
    error_changes: list[Change]
    paired: bool
    settings: list[Setting]
    charts: list[Chart]


def paired_differences(cases: Sequence[Case], before: Path, after: Path) -> Differences:
    """{figure: {value, low, high, p}}, after minus before, from the answers that two evaluations
    kept; {} if one did not, or if the cases are not here."""
    from medray.evaluation.metrics import compare, score_answers

    texts = [_answers(path) for path in (before, after)]
    both = texts[0].keys() & texts[1].keys()
    shared = [case for case in cases if case.case_id in both]
    if len(shared) < 2 or len(shared) > MOST_ANSWERS:
        return {}
    old, new = (score_answers(shared, answers) for answers in texts)
    found = compare(new, old)["difference"]
    return found if isinstance(found, Mapping) else {}


def read_evaluations(run: RunDirectory) -> dict[int, dict[str, Any]]:
    """The evaluations of a run by step, with the counts of answers that each figure applies to."""
    evals = run.read_evals()
    for step, result in evals.items():
        result[APPLIES] = _applies(run.answers_file(step))
    return evals


def compare_runs(
    ours: RunDirectory, theirs: RunDirectory, cases: Sequence[Case], config: Config
) -> Against:
    """Raises DataError if one of the runs has no evaluation."""
    evals, others = read_evaluations(ours), read_evaluations(theirs)
    for run, found in ((ours, evals), (theirs, others)):
        if not found:
            raise DataError(str(run.path), "has not been evaluated", "give another run to compare")
    step, other = max(evals), max(others)
    differences = paired_differences(cases, theirs.answers_file(other), ours.answers_file(step))
    changes = compared(others[other], evals[step], differences)
    their_config = theirs.read_config()
    names = their_config.run.name, config.run.name
    return Against(
        name=names[0],
        steps=(other, step),
        changes=[row for row in changes if row.key in EVAL_METRICS],
        other_changes=[row for row in changes if row.key not in EVAL_METRICS],
        error_changes=error_type_changes({0: others[other], 1: evals[step]}, {}, differences),
        paired=bool(differences),
        settings=settings_between(their_config, config),
        charts=overlaid_charts({f"{names[0]} (other)": others, f"{names[1]} (this)": evals}),
    )


def _applies(path: Path) -> dict[str, int]:
    """Figure → kept answers that have it; {} if the evaluation kept none. Reads a footer only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts: dict[str, int] = {}
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return {}
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for index in range(rows.num_columns):
            column = rows.column(index)
            if column.statistics is not None and column.statistics.null_count is not None:
                there = rows.num_rows - column.statistics.null_count
                name = column.path_in_schema
                counts[name] = counts.get(name, 0) + there
    return counts


def _answers(path: Path) -> dict[str, str]:
    """case_id → answer; {} if the evaluation kept none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["case_id", "answer"])
    except (OSError, pa.ArrowException):
        return {}
    return dict(zip(table["case_id"].to_pylist(), table["answer"].to_pylist(), strict=True))
