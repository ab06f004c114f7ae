"""The HTML pages: collect everything that they show and render the templates.

Every template autoescapes, and the pages' content security policy forbids scripts and loads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa

from medray.config import Config, DataConfig
from medray.files import write_text
from medray.report import figures, tables
from medray.report.charts import number
from medray.report.pairs.inline_images import inline_image
from medray.report.pairs.pair_images import collect_images
from medray.report.pairs.rows import PairImages, choose_pairs, error_types, rows_of_step, text_parts
from medray.report.vocabulary import EVAL_METRICS
from medray.rundir import METRIC_KEYS, RunDirectory

_MAX_STEPS = 400  # rows in the table of steps; metrics.jsonl has all of them


HIDDEN_PLACE = "(in config.yaml)"


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write report.html of a run, finished or not, and return its path.

    Raises UserError if `run_dir` is not a run.
    """
    from medray.ledger import read_ledger

    run = RunDirectory.open(run_dir)
    rows = choose_pairs(read_ledger(run.path))
    return build_report(run.path, pairs=collect_images(run.path, rows))


def build_report(run_dir: Path, *, pairs: Sequence[PairImages], out: Path | None = None) -> Path:
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
            config=without_places(config).to_yaml(),
            versions=run.read_versions(),
        )
    )
    path = out or run.report_file
    write_text(path, html)
    return path


def without_places(config: Config) -> Config:
    """The configuration without the places of data and runs, whose folders may be named after
    patients: a report leaves the machine."""

    def hidden(data: DataConfig) -> DataConfig:
        return data.model_copy(update={"path": data.path and HIDDEN_PLACE})

    run = config.run.model_copy(update={"output": HIDDEN_PLACE})
    changes: dict[str, Any] = {"run": run, "data": hidden(config.data)}
    if config.eval.data is not None:
        other = {"data": hidden(config.eval.data)}
        changes["eval"] = config.eval.model_copy(update=other)
    return config.model_copy(update=changes)


def write_pairs_page(
    run_dir: str | os.PathLike[str], out: Path, *, step: int | None = None
) -> Path:
    """Write all pairs of one step (None: the last that has any) as a page with images."""
    from medray.ledger import read_ledger

    run = RunDirectory.open(run_dir)
    rows = rows_of_step(read_ledger(run.path), step)
    shown = rows[0]["step"] if rows else step
    return build_pairs_page(run.path, pairs=collect_images(run.path, rows), out=out, step=shown)


def build_pairs_page(
    run_dir: Path, *, pairs: Sequence[PairImages], out: Path, step: int | None = None
) -> Path:
    """Write a page that shows only these pairs."""
    name = RunDirectory.open(run_dir).read_config().run.name
    cards = [_card(pair) for pair in pairs]
    html = (
        _templates().get_template("pairs/pairs.html.j2").render(title=name, step=step, pairs=cards)
    )
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
    movements = [
        _movement(label, before[key], after[key])
        for key, (label, _) in EVAL_METRICS.items()
        if before.get(key) is not None and after.get(key) is not None
    ]
    if movements:
        studies = (
            f"On {after['n']:,} held-out studies, " if after.get("n") else "On held-out data, "
        )
        headline = dict.fromkeys([movements[0], movements[-1]])  # the table below has all of them
        sentences.append(studies + ", and ".join(headline) + ".")
    seconds = sum(line.get("t_step") or 0.0 for line in metrics)
    if seconds:
        sentences.append(f"The steps took {_duration(seconds)} in total.")
    return " ".join(sentences)


def _movement(label: str, before: float, after: float) -> str:
    old, new = number(before, percent=True), number(after, percent=True)
    if old == new:
        return f"{label[0].lower() + label[1:]} stayed at {new}"
    verb = "rose" if after > before else "fell"
    return f"{label[0].lower() + label[1:]} {verb} from {old} to {new}"


def _card(pair: PairImages) -> dict[str, Any]:
    """What the template needs of one pair."""
    row = pair.row
    return {
        "row": row,
        "note": pair.note,
        "error_types": error_types(row),
        "image": None if pair.image is None else inline_image(pair.image, pair.region),
        "corrupted": None if pair.corrupted is None else inline_image(pair.corrupted, pair.region),
        "chosen": text_parts(row["chosen"], row["chosen_spans"]),
        "rejected": text_parts(row["rejected"], row["rejected_spans"]),
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
    stride = -(-len(metrics) // _MAX_STEPS) or 1
    return list(metrics[::stride])


def _duration(seconds: float) -> str:
    """
    >>> _duration(75), _duration(7384)
    ('1 min 15 s', '2 h 3 min')
    """
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def _show(value: Any) -> str:
    """A value formatted for the page."""
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
