"""Clinical significance: how much an error about a finding matters, in grades of radiologists."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from medray.editing.reading.claims import Claim, Statement, claims, read, subject_of
from medray.records import Edit, EditedSentence, Span

_DATA = Path(__file__).parents[1] / "ontology" / "significance.yaml"
_OF_FINDING = ("presence", "kind")  # types of error about the finding itself
_OF_STUDY = ("modality", "plane")


@dataclass(frozen=True, slots=True)
class Grades:
    """`findings`, `heart`, `study` and `default` as numbers in [0, 1]; `exceptions` by (finding,
    attribute, value); `significant` and `negligible`: the part that an attribute counts."""

    version: str
    findings: Mapping[str, float]
    default: float
    heart: float
    study: float
    exceptions: Mapping[tuple[str, str, str], float]
    significant: float
    negligible: float
    adjacent: Mapping[str, frozenset[frozenset[str]]]


@functools.cache
def grades() -> Grades:
    """The bundled grades, read once."""
    data = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    numbers = data["grades"]
    return Grades(
        str(data["version"]),
        {name: numbers[grade] for grade, names in data["findings"].items() for name in names},
        numbers[data["default"]],
        numbers[data["heart"]],
        numbers[data["study"]],
        {
            (row["finding"], row["attribute"], row["value"]): numbers[row["grade"]]
            for row in data["exceptions"]
        },
        data["attributes"]["significant"],
        data["attributes"]["negligible"],
        {name: frozenset(map(frozenset, pairs)) for name, pairs in data["negligible"].items()},
    )


def significance(question: str, text: str, edit: Edit | EditedSentence) -> float:
    """The significance of the worst error between `text` and its other side, in [0, 1].

    `text` is what the edit's `answer_spans` are ranges of: the answer, or one sentence of it. An
    error about a finding counts the grade of the finding that a side asserts, the higher one if
    both do; an error about one of its attributes counts half of it, or nothing if the values are
    next to each other.

    >>> sides = [(Span(0, 4, "side", 1.0, ""),), (Span(0, 5, "side", 1.0, ""),)]
    >>> significance("", "Left pneumothorax", Edit("wrong", "Right pneumothorax", *sides))
    0.5
    """
    sides = _Side(question, text), _Side(question, edit.text)
    return max(
        (
            _of_error(sides, old, new)
            for old, new in zip(edit.answer_spans, edit.text_spans, strict=True)
        ),
        default=0.0,
    )


def _of_error(sides: tuple[_Side, _Side], old: Span, new: Span) -> float:
    """The significance of one replacement."""
    stated = [*sides[0].about(old), *sides[1].about(new)]
    asserted = [statement for statement in stated if statement.polarity]
    found = _graded(asserted or stated)
    if old.error_type in _OF_STUDY or not found:
        return grades().default if old.error_type in _OF_FINDING else grades().study
    of_finding = old.error_type in _OF_FINDING or all(s.subject == "heart" for s in stated)
    return max(found) * (1.0 if of_finding else _part(sides, old, new))


class _Side:
    """One side of an edit, parsed."""

    def __init__(self, question: str, text: str) -> None:
        self.question, self.text = question, text
        self.parsed = read(text, subject=subject_of(question))

    def about(self, span: Span) -> list[Statement]:
        """What the span is about: the findings of its clause, else those of its sentence, else
        those that the question names."""
        stated = [s for s in (*self.parsed.statements, *self.parsed.uncertain) if s.head]
        near = [s for s in stated if s.start <= span.end and span.start <= s.end]
        if not near:
            near = [s for s in stated if s.sentence[0] <= span.end and span.start <= s.sentence[1]]
        if not near:
            named = read(self.question, subject=subject_of(self.question))
            near = [s for s in (*named.statements, *named.uncertain) if s.head]
        return near

    def values(self, span: Span) -> dict[str, str]:
        """The values of the attributes that the span gives."""
        found = claims(self.text, self.question)
        return {c.attribute: c.value for c in found if _overlap(c, span)}


def _graded(statements: Iterable[Statement]) -> list[float]:
    """The grades of the subjects of statements."""
    data = grades()
    found = []
    for statement in statements:
        if statement.subject == "heart":
            found.append(data.heart)
        elif statement.head is not None:
            name = statement.head.value
            exceptions = [
                data.exceptions[key]
                for m in statement.details
                if (key := (name, m.attribute, m.value)) in data.exceptions and not m.negated
            ]
            found.append(min(exceptions, default=data.findings.get(name, data.default)))
    return found


def _part(sides: tuple[_Side, _Side], old: Span, new: Span) -> float:
    """How much of its finding's grade an error about an attribute counts."""
    data = grades()
    before, after = sides[0].values(old), sides[1].values(new)
    changed = [name for name in before if after.get(name, before[name]) != before[name]]
    near = [
        name
        for name in changed
        if frozenset((before[name], after[name])) in data.adjacent.get(name, ())
    ]
    return data.negligible if changed and near == changed else data.significant


def _overlap(claim: Claim, span: Span) -> bool:
    return claim.start < span.end and span.start < claim.end
