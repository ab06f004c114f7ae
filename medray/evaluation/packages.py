"""Metrics of other packages, by name, where the package and its model files are there.

`radeval:NAME` is RadEval's metric of that name (pip install radeval). Only metrics that run here:
those that send texts to a service are not offered. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from medray.editing.language.markup import final_text
from medray.errors import UserError
from medray.evaluation.answers import AnswerRow
from medray.evaluation.sums import Figure, ratio

Scores = Mapping[str, Sequence[float]]  # figure → one score per text
Measure = Callable[[Sequence[str], Sequence[str]], Scores]  # (references, answers) → scores

RADEVAL = (
    *("bertscore", "radeval_bertscore", "f1chexbert", "f1radbert_ct", "radgraph", "ratescore"),
    *("radgraph_radcliq", "radcliq", "srrbert", "temporal", "green"),
)


def _radeval(name: str) -> Measure:
    evaluator = import_module("radeval").RadEval(metrics=[name], per_sample=True)

    def measure(references: Sequence[str], answers: Sequence[str]) -> Scores:
        found: dict[str, Any] = evaluator(refs=list(references), hyps=list(answers))
        return {key: values for key, values in found.items() if isinstance(values, list)}

    return measure


EXTERNAL: dict[str, Callable[[], Measure]] = {
    f"radeval:{name}": lambda name=name: _radeval(name)  # type: ignore[misc]
    for name in RADEVAL
}


def find_metrics(names: Sequence[str], others: Iterable[str] = ()) -> list[str]:
    """The names, without duplicates. Raises UserError for one that is neither of a package here
    nor one of `others`."""
    known = [*EXTERNAL, *others]
    for name in names:
        if name not in known:
            raise UserError(f"--metric {name}", "is not known", f"one of {', '.join(known)}")
    return list(dict.fromkeys(names))


def add_external(
    rows: Sequence[AnswerRow], names: Sequence[str], *, types: Sequence[str]
) -> tuple[list[AnswerRow], list[Figure], list[str]]:
    """The rows with the scores of answers of these types; the figures, means of them; and notes.

    What a metric cannot compute here is left out, with one line that says why.
    """
    chosen = [index for index, row in enumerate(rows) if row.case.answer_type in types]
    references = [rows[index].case.reference for index in chosen]
    answers = [final_text(rows[index].answer) for index in chosen]
    statistics = [dict(row.statistics) for row in rows]
    figures: dict[str, Figure] = {}
    notes = []
    for name in names if chosen else ():
        try:
            scores = EXTERNAL[name]()(references, answers)
            _require_complete(scores, len(chosen))
        except Exception as error:  # whatever another package raises without its files
            notes.append(f"{name}: {_why(name, error)}")
            continue
        for key, values in scores.items():
            figure = name if key == name.partition(":")[2] else f"{name}.{key}"
            figures[figure] = ratio(figure, f"{figure}/sum", f"{figure}/answers")
            for index, value in zip(chosen, values, strict=True):
                statistics[index] |= {f"{figure}/sum": float(value), f"{figure}/answers": 1.0}
    scored = [replace(row, statistics=s) for row, s in zip(rows, statistics, strict=True)]
    return scored, list(figures.values()), notes


def _require_complete(scores: Scores, count: int) -> None:
    if not scores:
        raise ValueError("it gave no score per answer")
    for key, values in scores.items():
        if len(values) != count:
            raise ValueError(f"it gave {len(values)} scores of {key} for {count} answers")


def _why(name: str, error: Exception) -> str:
    package = name.partition(":")[0]
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return f"the package {package} is not installed — install it"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"cannot be computed here ({type(error).__name__}: {first})"
