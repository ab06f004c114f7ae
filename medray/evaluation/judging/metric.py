"""What a judged metric is: which answers it is of, what it asks, which figures it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medray.editing.llm.completion import Dialogue
from medray.evaluation.judging.judge import Judge
from medray.evaluation.sums import Figure
from medray.records import AnswerType


@dataclass(frozen=True, slots=True)
class Item:
    """One answer to judge; `answer` is the final answer."""

    question: str
    reference: str
    answer: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The statistics of one answer, and what they come from, for JSON."""

    statistics: Mapping[str, float]
    record: Any


@dataclass(frozen=True, slots=True)
class JudgedMetric:
    """`of_reference(judge, question, reference)` is had once per reference, however many answers
    there are to it, and its result goes to `of_answer`. Both raise ItemError for replies that
    cannot be read."""

    name: str
    types: tuple[AnswerType, ...]
    figures: tuple[Figure, ...]
    of_reference: Callable[[Judge, str, str], Dialogue[Any]]
    of_answer: Callable[[Judge, Item, Any], Dialogue[Judgement]]
