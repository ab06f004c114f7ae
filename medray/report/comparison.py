"""Two evaluations on the same cases, paired answer by answer; and two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medray.config import Config
from medray.errors import DataError
from medray.records import Case
from medray.report.charts import Chart
from medray.report.figures import overlaid_charts
from medray.report.provenance import Setting, settings_between
from medray.report.tables import Change, Differences, compared
from medray.rundir import RunDirectory

MOST_ANSWERS = 6000  # scored again for a paired comparison: more would take minutes


@dataclass(frozen=True, slots=True)
class Against:
    """The last evaluation of another run beside this one's, and what else differs."""

    name: str
    steps: tuple[int, int]  # of the two evaluations: theirs, ours
    changes: list[Change]
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


def compare_runs(
    ours: RunDirectory, theirs: RunDirectory, cases: Sequence[Case], config: Config
) -> Against:
    """Raises DataError if one of the runs has no evaluation."""
    evals, others = ours.read_evals(), theirs.read_evals()
    for run, found in ((ours, evals), (theirs, others)):
        if not found:
            raise DataError(str(run.path), "has not been evaluated", "give another run to compare")
    step, other = max(evals), max(others)
    differences = paired_differences(cases, theirs.answers_file(other), ours.answers_file(step))
    their_config = theirs.read_config()
    names = their_config.run.name, config.run.name
    return Against(
        name=names[0],
        steps=(other, step),
        changes=compared(others[other], evals[step], differences),
        paired=bool(differences),
        settings=settings_between(their_config, config),
        charts=overlaid_charts({f"{names[0]} (other)": others, f"{names[1]} (this)": evals}),
    )


def _answers(path: Path) -> dict[str, str]:
    """case_id → answer; {} if the evaluation kept none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["case_id", "answer"])
    except (OSError, pa.ArrowException):
        return {}
    return dict(zip(table["case_id"].to_pylist(), table["answer"].to_pylist(), strict=True))
