"""study.html: learning curves, effects and failures of a study in one file, without a network.

The template autoescapes, and the content security policy forbids scripts and loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import medray.report
from medray.files import write_text
from medray.report.templates import environment
from medray.report.vocabulary import EVAL_METRICS
from medray.study.comparison import Comparison, Group
from medray.study.curves import direction, panels
from medray.study.design import Study
from medray.study.forest import MODEL_KEYS, Forest, forest
from medray.study.results import CellResult
from medray.study.tables import caption, table_of

CURVES = ("report_exact", "hallucination_rate", "closed_accuracy", "open_recall")  # two of them


def write_page(
    study: Study,
    results: Sequence[CellResult],
    comparisons: Sequence[Comparison],
    starts: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Write the page into the study's folder; `starts`: how the actors of each cell began."""
    failures = [result for result in results if result.failure]
    html = (
        environment(Path(__file__).parent, Path(medray.report.__file__).parent)
        .get_template("study.html.j2")
        .render(
            title=study.name,
            summary=_summary(study, results, failures, starts),
            sections=[_section(comparison) for comparison in comparisons],
            failures=[(result.cell.name, result.failure) for result in failures],
            starts=sorted(starts.items()),
        )
    )
    path = study.path / "study.html"
    write_text(path, html)
    return path


def _section(comparison: Comparison) -> dict[str, Any]:
    header, rows = table_of(comparison)
    figures = comparison.figures
    return {
        "name": comparison.table.name,
        "caption": caption(comparison.table),
        "header": header,
        "rows": rows,
        "forests": [plot for figure in figures for plot in _forests(comparison, figure)],
        "curves": [
            (_title(figure), direction(figure), charts)
            for figure in CURVES
            if figure in figures and (charts := panels(comparison, figure))
        ][:2],
    }


def _forests(comparison: Comparison, figure: str) -> list[Forest]:
    """A plot of the figure per backbone."""
    by_model: dict[str, list[Group]] = {}
    for group in comparison.groups:
        model = next((label for key, label in group.levels if key in MODEL_KEYS), "")
        by_model.setdefault(model, []).append(group)
    plots = [
        forest(comparison, figure, " · ".join(filter(None, [_title(figure), model])), groups)
        for model, groups in by_model.items()
    ]
    return [plot for plot in plots if plot is not None]


def _title(figure: str) -> str:
    return EVAL_METRICS[figure][0] if figure in EVAL_METRICS else figure


def _summary(
    study: Study,
    results: Sequence[CellResult],
    failures: Sequence[CellResult],
    starts: Mapping[str, Mapping[str, Any]],
) -> str:
    """The study in one paragraph of plain text."""
    tables = "one table" if len(study.tables) == 1 else f"{len(study.tables)} tables"
    text = f"{len(results)} runs in {tables}; {len(results) - len(failures)} have a result."
    new = [start["start_seconds"] for start in starts.values() if start["new_actors"]]
    kept = [start["start_seconds"] for start in starts.values() if not start["new_actors"]]
    if new and kept:
        text += (
            f" Actors were started {len(new)} times ({_mean(new):.0f} s each) and reused "
            f"{len(kept)} times ({_mean(kept):.0f} s each)."
        )
    return text


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
