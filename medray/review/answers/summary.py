"""What the readers' grades say of answers: accept rates of each evaluation, and which is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scipy.stats import binomtest

from medray.review.agreement import wilson
from medray.review.grades import Grade, Grades
from medray.review.key import AnswerEntry, AnswerKey, Side
from medray.review.summary import SPLIT, agreement_of

RIGHT, WRONG, CANNOT_TELL = "right", "wrong", "cannot tell"
Opinion = tuple[
    str, bool | None
]  # of one answer: an outcome; whether the text of a right one is good
Opinions = dict[str, Opinion]  # id in the page → opinion


def summarise_answers(key: AnswerKey, grades: Grades) -> dict[str, Any]:
    """All figures, for JSON. An answer counts once, with the outcome of more than half of its
    readers; `accept_rate` is the share of right ones of all that were graded."""
    sources = [_source(key, grades, number) for number in range(len(key.sources))]
    opinions = [_joint(key, grades, number) for number in range(len(key.sources))]
    return {
        "review": key.id,
        "drawn": len(key.pairs),
        "graded": len(opinions[0]),
        "evaluations": sources,
        "preference": _preference(*opinions) if len(opinions) == 2 else None,
        "agreement": agreement_of(key, grades),
        "answers": [_listed(name, entry, grades) for name, entry in key.pairs.items()],
    }


def rates(opinions: Iterable[Opinion]) -> dict[str, Any]:
    """Shares of the outcomes, which add up to 1, with the interval of the first; None where there
    is nothing to divide by."""
    given = list(opinions)
    counts, n = Counter(outcome for outcome, _ in given), len(given)
    share = {name: counts[name] / n if n else None for name in (RIGHT, WRONG, CANNOT_TELL, SPLIT)}
    well = [reads for outcome, reads in given if outcome == RIGHT and reads is not None]
    return {
        "answers": n,
        "accept_rate": share[RIGHT],
        "interval": list(wilson(counts[RIGHT] / n, n)) if n else None,
        "wrong": share[WRONG],
        "cannot_tell": share[CANNOT_TELL],
        "split": share[SPLIT],
        "reads_well": sum(well) / len(well) if well else None,
    }


def _source(key: AnswerKey, grades: Grades, number: int) -> dict[str, Any]:
    """The figures of one evaluation's answers."""
    opinions = _joint(key, grades, number)
    by_reader = {reader: _uncovered(key, given, number) for reader, given in grades.items()}
    entries = key.pairs
    return {
        "name": key.sources[number],
        "overall": rates(opinions.values()),
        "all_answers": _expected(key, opinions),
        "by_error_type": _grouped(opinions, {n: entries[n].error_types[number] for n in opinions}),
        "by_verdict": _grouped(opinions, {n: entries[n].verdicts[number] for n in opinions}),
        "by_reader": {name: rates(found.values()) for name, found in by_reader.items()},
    }


def _joint(key: AnswerKey, grades: Grades, number: int) -> Opinions:
    """What more than half of the readers say of each answer of an evaluation."""
    by_reader = [_uncovered(key, given, number) for given in grades.values()]
    result = {}
    for name in key.pairs:
        given = [found[name] for found in by_reader if name in found]
        if given:
            result[name] = _majority(given)
    return result


def _uncovered(key: AnswerKey, given: Mapping[str, Grade], number: int) -> Opinions:
    """One reader's opinions of the answers of an evaluation."""
    return {
        name: _opinion(grade, _side(key.pairs[name], number))
        for name, grade in given.items()
        if grade.right is not None
    }


def _side(entry: AnswerEntry, number: int) -> Side:
    return entry.first if number == 0 else "B" if entry.first == "A" else "A"


def _opinion(grade: Grade, side: Side) -> Opinion:
    if grade.right == CANNOT_TELL:
        return CANNOT_TELL, None
    return (RIGHT, grade.reads_well) if grade.right in (side, "both") else (WRONG, None)


def _majority(given: list[Opinion]) -> Opinion:
    (outcome, n), *_ = Counter(outcome for outcome, _ in given).most_common(1)
    if 2 * n <= len(given):
        return SPLIT, None
    well = [reads for name, reads in given if name == outcome and reads is not None]
    return outcome, 2 * sum(well) > len(well) if well else None


def _grouped(opinions: Opinions, labels: Mapping[str, str]) -> dict[str, Any]:
    groups: dict[str, list[Opinion]] = {}
    for name, opinion in opinions.items():
        groups.setdefault(labels[name], []).append(opinion)
    return {label: rates(groups[label]) for label in sorted(groups)}


def _expected(key: AnswerKey, opinions: Opinions) -> dict[str, Any] | None:
    """The accept rate expected of all cases from which was drawn: each group weighs as many as it
    has, as cases were drawn evenly over groups. Wilson's interval for Kish's effective size."""
    drawn = Counter(key.pairs[name].group for name in opinions)
    weights = [
        (key.answered[key.pairs[name].group] / drawn[key.pairs[name].group], outcome == RIGHT)
        for name, (outcome, _) in opinions.items()
    ]
    if not weights:
        return None
    total, squares = sum(w for w, _ in weights), sum(w**2 for w, _ in weights)
    share = sum(w for w, right in weights if right) / total
    return {
        "answers": sum(key.answered[group] for group in drawn),
        "accept_rate": share,
        "interval": list(wilson(share, total**2 / squares)),
    }


def _preference(first: Opinions, second: Opinions) -> dict[str, Any]:
    """On the cases graded: which answer alone is right. `p`: exact sign test, two-sided."""
    both = [(first[name][0] == RIGHT, second[name][0] == RIGHT) for name in first]
    counts, n = Counter(both), len(both)
    alone = counts[True, False], counts[False, True]
    return {
        "cases": n,
        "first_alone": alone[0],
        "second_alone": alone[1],
        "both": counts[True, True],
        "neither": counts[False, False],
        "difference": (alone[0] - alone[1]) / n if n else None,
        "p": float(binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else 1.0,
    }


def _listed(name: str, entry: AnswerEntry, grades: Grades) -> dict[str, Any]:
    """One case with what every reader answered, by evaluation."""
    answers = {}
    for reader, given in grades.items():
        if (grade := given.get(name)) is not None:
            sides = range(len(entry.error_types))
            known = grade.right is not None
            answers[reader] = {
                "right": [_opinion(grade, _side(entry, i))[0] for i in sides] if known else None,
                "reads_well": grade.reads_well,
                "comment": grade.comment,
            }
    return {
        "case_id": entry.case_id,
        "error_types": list(entry.error_types),
        "verdicts": list(entry.verdicts),
        "answers": answers,
    }
