"""What the judge says of each answer, as statistics beside those of the rules."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medray.editing.language.markup import final_text
from medray.editing.llm import EditTask
from medray.editing.llm.check import require_anonymous
from medray.errors import ItemError
from medray.evaluation.answers import AnswerRow
from medray.evaluation.judging.judge import Judge
from medray.evaluation.judging.metric import Item, JudgedMetric, Judgement
from medray.evaluation.sums import Figure

Side = list[AnswerRow]
References = dict[tuple[str, str], Any]  # question and reference → of_reference, or an ItemError


def judge_answers(
    sides: Sequence[Sequence[AnswerRow]], metrics: Sequence[JudgedMetric], judge: Judge
) -> tuple[list[Side], list[Figure], list[list[str]]]:
    """The rows of each side with what the judge says of them; the figures; and notes by side.

    An answer without a judgement that can be read has no statistics of that metric, and is counted
    in a note with the reason. The sides share what is asked about a reference, so that they are
    measured by the same facts.
    """
    judged = [list(side) for side in sides]
    notes: list[list[str]] = [[] for _ in sides]
    for metric in metrics:
        references = _of_references(judged, metric, judge)
        for number, side in enumerate(judged):
            judged[number], lines = _judge_side(side, metric, references, judge)
            notes[number] += lines
    return judged, [figure for metric in metrics for figure in metric.figures], notes


def shared(
    ours: Sequence[AnswerRow], theirs: Sequence[AnswerRow], metrics: Sequence[JudgedMetric]
) -> tuple[Side, Side]:
    """Both sides, with the statistics of each metric only of cases that it has judged on both."""
    left, right = list(ours), list(theirs)
    for metric in metrics:
        both = _judged_cases(left, metric) & _judged_cases(right, metric)
        left, right = ([_within(row, metric, both) for row in side] for side in (left, right))
    return left, right


def _judged_cases(side: Side, metric: JudgedMetric) -> set[str]:
    return {row.case.case_id for row in side if metric.name in row.judgements}


def _within(row: AnswerRow, metric: JudgedMetric, cases: set[str]) -> AnswerRow:
    if row.case.case_id in cases:
        return row
    prefix = f"{metric.name}/"
    kept = {name: n for name, n in row.statistics.items() if not name.startswith(prefix)}
    return replace(row, statistics=kept)


def _of_references(sides: Sequence[Side], metric: JudgedMetric, judge: Judge) -> References:
    rows = [row for side in sides for row in side if row.case.answer_type in metric.types]
    keys = list(dict.fromkeys(_key(row) for row in rows if _refusal(row) is None))
    found = judge.run([metric.of_reference(judge, *key) for key in keys])
    return dict(zip(keys, found, strict=True))


def _judge_side(
    side: Side, metric: JudgedMetric, references: References, judge: Judge
) -> tuple[Side, list[str]]:
    """The side's rows with the metric's statistics, and notes about those without."""
    places = [i for i, row in enumerate(side) if row.case.answer_type in metric.types]
    if not places:
        return side, [f"{metric.name}: no answer is of a type that it judges: {_types(metric)}"]
    results: dict[int, Judgement | ItemError] = {}
    for place in places:
        reason = _refusal(side[place]) or references[_key(side[place])]
        if isinstance(reason, ItemError):
            results[place] = reason
    asking = [place for place in places if place not in results]
    dialogues = [
        metric.of_answer(judge, _item(side[place]), references[_key(side[place])])
        for place in asking
    ]
    results |= zip(asking, judge.run(dialogues), strict=True)
    rows = [_with(row, metric, results.get(place)) for place, row in enumerate(side)]
    failed = [result for result in results.values() if isinstance(result, ItemError)]
    return rows, _notes(metric, failed, len(places))


def _with(row: AnswerRow, metric: JudgedMetric, result: Judgement | ItemError | None) -> AnswerRow:
    if not isinstance(result, Judgement):
        return row
    record = json.dumps(result.record, ensure_ascii=False)
    return replace(
        row,
        statistics={**row.statistics, **result.statistics},
        judgements={**row.judgements, metric.name: record},
    )


def _notes(metric: JudgedMetric, failed: Sequence[ItemError], count: int) -> list[str]:
    if not failed:
        return []
    reasons = Counter(error.reason for error in failed)
    listed = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
    why = f"{len(failed)} of {count} answers have no judgement that can be read ({listed})"
    return [f"{metric.name}: {why}: its figures are without them"]


def _refusal(row: AnswerRow) -> ItemError | None:
    """Why the texts must not be sent: they name their patient."""
    case = row.case
    task = EditTask(case.question, case.reference, row.answer, patient_id=case.patient_id)
    try:
        require_anonymous(task)
    except ItemError as error:
        return error
    return None


def _key(row: AnswerRow) -> tuple[str, str]:
    return row.case.question, row.case.reference


def _item(row: AnswerRow) -> Item:
    return Item(row.case.question, row.case.reference, final_text(row.answer))


def _types(metric: JudgedMetric) -> str:
    return " and ".join(metric.types)
