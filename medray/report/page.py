"""The pages themselves: everything is gathered here and handed to the templates.

Autoescape is on for every template, and the pages forbid scripts and loads by policy too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa

from medray.config import Config
from medray.files import write_text
from medray.report import figures, tables
from medray.report.charts import number
from medray.report.inline_images import picture
from medray.report.pair_images import collect_pictures
from medray.report.pairs import PairPicture, choose_pairs, error_types, rows_of_step, segments
from medray.rundir import METRIC_KEYS, RunDirectory

_MOST_STEPS = 400  # rows of the table of steps; metrics.jsonl has them all


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write report.html of a run, finished or not, and return its path.

    Raises UserError where `run_dir` is not a run.
    """
    from medray.ledger import read_ledger

    run = RunDirectory.open(run_dir)
    rows = choose_pairs(read_ledger(run.path))
    return build_report(run.path, pairs=collect_pictures(run.path, rows))


def build_report(run_dir: Path, *, pairs: Sequence[PairPicture], out: Path | None = None) -> Path:
    """Write the report with these pairs to `out` (default: report.html of the run)."""
    from medray.ledger import read_ledger

    run = RunDirectory.open(run_dir)
    config, table = run.read_config(), read_ledger(run.path)
    metrics, evals = run.read_metrics(), run.read_evals()
    before, after = tables.first_and_last(evals)
    html = (
        _templates()
        .get_template("template.html.j2")
        .render(
            title=config.run.name,
            summary=summary(config, table, metrics, evals),
            steps=(min(evals, default=0), max(evals, default=0)),
            before=before,
            after=after,
            changes=tables.evaluation_changes(evals),
            error_changes=tables.error_type_changes(evals, table),
            evaluation_charts=figures.evaluation_charts(evals),
            training_charts=figures.training_charts(metrics),
            statuses=tables.statuses(table),
            rows=table.num_rows,
            drops=tables.drop_reasons(table),
            pairs=[_card(pair) for pair in pairs],
            metric_keys=_recorded(metrics),
            metrics=_thinned(metrics),
            metrics_total=len(metrics),
            config=config.to_yaml(),
            versions=run.read_versions(),
        )
    )
    path = out or run.report_file
    write_text(path, html)
    return path


def write_pairs_page(
    run_dir: str | os.PathLike[str], out: Path, *, step: int | None = None
) -> Path:
    """All pairs of one step (the last that has any, where None) as one page, pictures included."""
    from medray.ledger import read_ledger

    run = RunDirectory.open(run_dir)
    rows = rows_of_step(read_ledger(run.path), step)
    shown = rows[0]["step"] if rows else step
    return build_pairs_page(run.path, pairs=collect_pictures(run.path, rows), out=out, step=shown)


def build_pairs_page(
    run_dir: Path, *, pairs: Sequence[PairPicture], out: Path, step: int | None = None
) -> Path:
    """Write a page of nothing but these pairs."""
    name = RunDirectory.open(run_dir).read_config().run.name
    cards = [_card(pair) for pair in pairs]
    html = _templates().get_template("pairs.html.j2").render(title=name, step=step, pairs=cards)
    write_text(out, html)
    return out


def summary(
    config: Config,
    table: pa.Table,
    metrics: Sequence[Mapping[str, Any]],
    evals: Mapping[int, dict[str, Any]],
) -> str:
    """The run in one paragraph of plain text."""
    status = tables.statuses(table)
    trained = status["trained"]
    sentences = [
        f"{config.model.path} trained on {config.data.kind} with the objective "
        f"{config.objective.name} for {len(metrics)} of {config.loop.steps} steps.",
        f"Of {table.num_rows:,} answers, {trained:,} became trained pairs and "
        f"{table.num_rows - trained:,} were dropped.",
    ]
    before, after = tables.first_and_last(evals)
    moved = [
        _movement(label, before[key], after[key])
        for key, (label, _) in tables.EVAL_METRICS.items()
        if before.get(key) is not None and after.get(key) is not None
    ]
    if moved:
        studies = (
            f"On {after['n']:,} held-out studies, " if after.get("n") else "On held-out data, "
        )
        headline = dict.fromkeys([moved[0], moved[-1]])  # the table below has them all
        sentences.append(studies + ", and ".join(headline) + ".")
    seconds = sum(line.get("t_step") or 0.0 for line in metrics)
    if seconds:
        sentences.append(f"The steps took {_duration(seconds)} in all.")
    return " ".join(sentences)


def _movement(label: str, before: float, after: float) -> str:
    old, new = number(before, percent=True), number(after, percent=True)
    if old == new:
        return f"{label[0].lower() + label[1:]} stayed at {new}"
    verb = "rose" if after > before else "fell"
    return f"{label[0].lower() + label[1:]} {verb} from {old} to {new}"


def _card(pair: PairPicture) -> dict[str, Any]:
    """What the template shows of one pair."""
    row = pair.row
    return {
        "row": row,
        "note": pair.note,
        "error_types": error_types(row),
        "image": picture(pair.image, pair.region) if pair.image is not None else None,
        "corrupted": picture(pair.corrupted, pair.region) if pair.corrupted is not None else None,
        "chosen": segments(row["chosen"], row["chosen_spans"]),
        "rejected": segments(row["rejected"], row["rejected_spans"]),
        "chosen_gain": _difference(row["chosen_logp"], row["chosen_ref_logp"]),
        "rejected_gain": _difference(row["rejected_logp"], row["rejected_ref_logp"]),
    }


def _difference(policy: float | None, reference: float | None) -> float | None:
    return None if policy is None or reference is None else policy - reference


def _recorded(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that have at least one value, the documented ones first."""
    present = dict.fromkeys(
        key for line in metrics for key, value in line.items() if value is not None
    )
    known = [key for key in METRIC_KEYS if key in present]
    return [*known, *(key for key in present if key not in METRIC_KEYS)]


def _thinned(metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    every = -(-len(metrics) // _MOST_STEPS) or 1
    return list(metrics[::every])


def _duration(seconds: float) -> str:
    """
    >>> _duration(75), _duration(7384)
    ('1 min 15 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _show(value: Any) -> str:
    """A value as the page shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return (f"{value:,}" if isinstance(value, int) else number(value)).replace("-", "−")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["show"] = _show
    return environment
