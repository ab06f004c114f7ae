"""What the readers' grades say of the run's pairs: accept rates, by error type and by reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, get_args

import numpy as np

from medray.review.agreement import MISSING, agreement, wilson
from medray.review.grades import Answer, Grade, Grades
from medray.review.key import AnyKey, Key, KeyEntry

OUTCOMES = ("chosen", "rejected", "both", "neither", "cannot tell")
SPLIT = "split"  # no outcome has more than half of a pair's readers
CORRECTED, VARIANT = "corrected answer", "error introduced"

Opinion = tuple[str, bool | None]  # an outcome; whether the text of an accepted chosen side is good


def summarise(key: Key, grades: Grades) -> dict[str, Any]:
    """All figures, for JSON.

    A pair counts once, with the outcome of more than half of its readers. `accept_rate`: share of
    pairs whose chosen side alone is right, of all that were graded. `reads_well`: share of texts
    that read well, of the chosen sides that were accepted.
    """
    by_reader = {
        reader: {name: _opinion(grade, key.pairs[name]) for name, grade in given.items()}
        for reader, given in grades.items()
    }
    opinions = {
        name: found
        for name in key.pairs
        if (found := _majority(given.get(name) for given in by_reader.values())) is not None
    }
    return {
        "review": key.id,
        "drawn": len(key.pairs),
        "graded": len(opinions),
        "overall": rates(opinions.values()),
        "trained_pairs": _expected(key, opinions),
        "by_error_type": _grouped(key, opinions, lambda entry: entry.error_type),
        "by_edit": _grouped(key, opinions, _edit),
        "by_reader": {
            name: rates(filter(None, given.values())) for name, given in by_reader.items()
        },
        "agreement": agreement_of(key, grades),
        "pairs": [_listed(name, key.pairs[name], grades, opinions.get(name)) for name in key.pairs],
    }


def rates(opinions: Iterable[Opinion]) -> dict[str, Any]:
    """Shares of the outcomes, which add up to 1, and the accept rate with its interval; None where
    there is nothing to divide by."""
    given = list(opinions)
    counts, n = Counter(outcome for outcome, _ in given), len(given)
    share = {name: counts[name] / n if n else None for name in (*OUTCOMES, SPLIT)}
    well = [reads for outcome, reads in given if outcome == "chosen" and reads is not None]
    return {
        "pairs": n,
        "accept_rate": share["chosen"],
        "interval": list(wilson(counts["chosen"] / n, n)) if n else None,
        **{name.replace(" ", "_"): share[name] for name in (*OUTCOMES[1:], SPLIT)},
        "reads_well": sum(well) / len(well) if well else None,
    }


def _opinion(grade: Grade, entry: KeyEntry) -> Opinion | None:
    """A reader's grade, uncovered; None without an answer."""
    if grade.right is None:
        return None
    if grade.right not in ("A", "B"):
        return grade.right, None
    return ("chosen", grade.reads_well) if grade.right == entry.chosen else ("rejected", None)


def _majority(opinions: Iterable[Opinion | None]) -> Opinion | None:
    """The outcome of more than half of those who answered; the text is good if more than half of
    those say so who judged it."""
    given = [opinion for opinion in opinions if opinion is not None]
    if not given:
        return None
    (outcome, n), *_ = Counter(outcome for outcome, _ in given).most_common(1)
    if 2 * n <= len(given):
        return SPLIT, None
    well = [reads for name, reads in given if name == outcome and reads is not None]
    return outcome, 2 * sum(well) > len(well) if well else None


def _grouped(
    key: Key, opinions: Mapping[str, Opinion], group: Callable[[KeyEntry], str | None]
) -> dict[str, Any]:
    groups: dict[str, list[Opinion]] = {}
    for name, opinion in opinions.items():
        if (label := group(key.pairs[name])) is not None:
            groups.setdefault(label, []).append(opinion)
    return {label: rates(groups[label]) for label in sorted(groups)}


def _edit(entry: KeyEntry) -> str | None:
    return None if entry.corrected is None else CORRECTED if entry.corrected else VARIANT


def _expected(key: Key, opinions: Mapping[str, Opinion]) -> dict[str, Any]:
    """The accept rate expected of all trained pairs of the types that were graded.

    Pairs were drawn evenly over error types, so each weighs as many as it stands for. The interval
    is Wilson's for Kish's effective sample size.
    """
    drawn = Counter(key.pairs[name].error_type for name in opinions)
    weights = {name: key.trained[name] / n for name, n in drawn.items()}
    each = [
        (weights[key.pairs[name].error_type], o == "chosen") for name, (o, _) in opinions.items()
    ]
    total, squares = sum(w for w, _ in each), sum(w**2 for w, _ in each)
    share = sum(w for w, accepted in each if accepted) / total
    return {
        "pairs": sum(key.trained[name] for name in drawn),
        "accept_rate": share,
        "interval": list(wilson(share, total**2 / squares)),
    }


def agreement_of(key: AnyKey, grades: Grades) -> dict[str, Any] | None:
    """None for one reader, or if no pair has two answers."""
    if len(grades) < 2:
        return None
    number: dict[str | None, int] = {name: i for i, name in enumerate(get_args(Answer))}
    answers = [
        [given[name].right if name in given else None for given in grades.values()]
        for name in key.pairs
    ]
    labels = np.array([[number.get(answer, MISSING) for answer in row] for row in answers])
    found = agreement(labels)
    return None if found is None else asdict(found)


def _listed(name: str, entry: KeyEntry, grades: Grades, opinion: Opinion | None) -> dict[str, Any]:
    """One pair with what every reader answered."""
    answers = {}
    for reader, given in grades.items():
        if (grade := given.get(name)) is not None:
            found = _opinion(grade, entry)
            outcome = None if found is None else found[0]
            answers[reader] = {
                "right": outcome,
                "reads_well": grade.reads_well,
                "comment": grade.comment,
            }
    outcome = None if opinion is None else opinion[0]
    return {
        "pair_id": entry.pair_id,
        "step": entry.step,
        "error_type": entry.error_type,
        "outcome": outcome,
        "answers": answers,
    }
