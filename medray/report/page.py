"""report.html: collect everything that it shows of a run and render it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medray.config import Config
from medray.files import write_text
from medray.records import Case
from medray.report import figures, provenance, tables
from medray.report.charts import number
from medray.report.comparison import compare_runs, paired_differences, read_evaluations
from medray.report.pairs.cards import THUMBNAIL, Pictures, shown_images
from medray.report.pairs.page import EVERY_ROW, PICTURE_ROOM, report_list
from medray.report.pairs.pair_images import ImageSource
from medray.report.pairs.rows import PairImages
from medray.report.pairs.selection import find_rows
from medray.report.pairs.wrong_answers import WrongAnswers, wrong_answers
from medray.report.progress import read_log
from medray.report.templates import render
from medray.report.vocabulary import EVAL_METRICS, is_percentage, label
from medray.report.wall_time import wall_time
from medray.rundir import METRIC_KEYS, RunDirectory

MAX_STEPS = 400  # rows in the table of steps; metrics.jsonl has all of them
WRONG_ANSWERS = 40


def write_report(
    run_dir: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    images: bool = True,
    out: Path | None = None,
) -> Path:
    """Write the report of a run, finished or not, to `out` (default: its report.html).

    `against`: another run to compare with; `images`: False for a page that holds none. Raises
    UserError if one of the two is not a run.
    """
    run = RunDirectory.open(run_dir)
    other = None if against is None else RunDirectory.open(against)
    config = run.read_config()
    source = ImageSource(config)
    cases = [*source.train.values(), *source.heldout.values()]
    metrics, evals = run.read_metrics(), read_evaluations(run)
    tally = tables.Tally()
    rows = find_rows(run, EVERY_ROW, columns=tables.LEDGER_COLUMNS, each=tally.add)
    account, pictures = tally.account(), Pictures(PICTURE_ROOM)
    pairs = report_list(run, rows, source if images else None, pictures)
    content = {
        **_results(run, config, evals, account, list(source.heldout.values())),
        **_training(metrics),
        "summary": summary(config, account, metrics, evals),
        "account": account,
        "drops": tables.drop_reasons(account),
        "time": wall_time(read_log(run.logs / "progress.log"), metrics, evals.values()),
        "list": pairs,
        "wrong": _wrong(run, evals, source if images else None, pictures),
        "against": other and compare_runs(run, other, list(source.heldout.values()), config),
        "changed": provenance.changed_settings(config),
        "config_lines": provenance.config_lines(config),
        "origin": provenance.origin(run, config, cases),
        "versions": run.read_versions(),
    }
    page = render("template.html.j2", title=config.run.name, pictures=pictures.stored(), **content)
    path = out or run.report_file
    write_text(path, page)
    return path


def _results(
    run: RunDirectory,
    config: Config,
    evals: Mapping[int, dict[str, Any]],
    account: tables.Account,
    cases: Sequence[Case],
) -> dict[str, Any]:
    before, after = tables.first_and_last(evals)
    steps = (min(evals, default=0), max(evals, default=0))
    differences: tables.Differences = {}
    if after:
        paths = [run.answers_file(step) for step in steps]
        differences = paired_differences(cases, *paths)
    changes = tables.evaluation_changes(evals, differences)
    return {
        "steps": steps,
        "before": before,
        "after": after,
        "changes": [row for row in changes if row.key in EVAL_METRICS],
        "other_changes": [row for row in changes if row.key not in EVAL_METRICS],
        "error_changes": tables.error_type_changes(evals, account.edits, differences),
        "paired": bool(differences),
        "best": _best(config, evals),
        "evaluation_charts": figures.evaluation_charts(evals),
    }


def _training(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "training_charts": figures.training_charts(metrics),
        "metric_keys": _recorded(metrics),
        "metrics": _thinned(metrics),
        "metrics_total": len(metrics),
    }


def _wrong(
    run: RunDirectory, evals: Mapping[int, Any], source: ImageSource | None, pictures: Pictures
) -> tuple[WrongAnswers, list[Any]] | None:
    """Wrong answers of the last evaluation, and the pictures of each."""
    found = wrong_answers(run, sorted(evals), WRONG_ANSWERS)
    if found is None:
        return None
    images = []
    for row in found.rows:
        pair = source.clean(row, heldout=True) if source else PairImages(row)
        shown = shown_images(pair, pictures, largest=THUMBNAIL)
        images.append([image for image, _ in shown if image is not None])
    return found, images


def _best(config: Config, evals: Mapping[int, dict[str, Any]]) -> str:
    """One sentence about the best step; "" with fewer than three evaluations."""
    if len(evals) < 3:
        return ""
    keys = [config.loop.keep_best] if config.loop.keep_best else []
    last = max(evals)
    measured = [key for key in (*keys, *EVAL_METRICS) if evals[last].get(key) is not None]
    found = tables.best_step(evals, measured)
    if found is None:
        return ""
    key, step = found
    value = number(evals[step][key], is_percentage(key))
    name = label(key)
    if step == last:
        return f"Best step: {step}, the last one evaluated ({name}: {value})."
    at_end = number(evals[last][key], is_percentage(key))
    return f"Best step: {step} ({name}: {value}, and {at_end} at step {last})."


def summary(
    config: Config,
    account: tables.Account,
    metrics: Sequence[Mapping[str, Any]],
    evals: Mapping[int, dict[str, Any]],
) -> str:
    """The run in one paragraph of plain text."""
    sentences = [
        f"{config.model.path} trained on {config.data.kind} with the objective "
        f"{config.objective.name} for {len(metrics)} of {config.loop.steps} steps.",
        f"Of {account.answers:,} answers, {account.trained:,} gave "
        f"{account.statuses['trained']:,} trained pairs and {account.dropped:,} were dropped.",
    ]
    before, after = tables.first_and_last(evals)
    movements = [
        _movement(key, before[key], after[key])
        for key in (*figures.MAIN, "hallucination_rate")
        if before.get(key) is not None and after.get(key) is not None
    ]
    if movements:
        studies = (
            f"On {after['n']:,} held-out studies, " if after.get("n") else "On held-out data, "
        )
        headline = dict.fromkeys([movements[0], movements[-1]])  # the table below has all of them
        sentences.append(studies + ", and ".join(headline) + ".")
    return " ".join(sentences)


def _movement(key: str, before: float, after: float) -> str:
    old, new = (number(value, is_percentage(key)) for value in (before, after))
    name = label(key)
    if old == new:
        return f"{name[0].lower() + name[1:]} stayed at {new}"
    verb = "rose" if after > before else "fell"
    return f"{name[0].lower() + name[1:]} {verb} from {old} to {new}"


def _recorded(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that have at least one value, the documented ones first."""
    present = dict.fromkeys(
        key for line in metrics for key, value in line.items() if value is not None
    )
    known = [key for key in METRIC_KEYS if key in present]
    return [*known, *(key for key in present if key not in METRIC_KEYS)]


def _thinned(metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    stride = -(-len(metrics) // MAX_STEPS) or 1
    return list(metrics[::stride])
