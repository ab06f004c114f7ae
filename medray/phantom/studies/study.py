"""One phantom study: an image, its true attributes, and questions and answers about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medray.phantom.studies.questions import answer, closed_question, open_question
from medray.phantom.studies.render import draw_geometry, render
from medray.phantom.studies.truth import Truth, draw_truth, stream
from medray.phantom.studies.wording import report, report_question
from medray.records import AnswerType, Region


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question about a study and the answer to it."""

    answer_type: AnswerType
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Study:
    """`image` is [48, 48, 3] uint8; `regions` holds the lesion's box, if there is a lesion."""

    image: np.ndarray
    truth: Truth
    regions: tuple[Region, ...]
    exchanges: tuple[Exchange, ...]  # one report, one closed, one open

    @property
    def report(self) -> str:
        return self.exchanges[0].answer


def study(seed: int, split: str, index: int) -> Study:
    """Study number `index` of a split ("train", "heldout", "base", …); deterministic."""
    truth = study_truth(seed, split, index)
    image, box = render(truth, draw_geometry(stream(seed, split, index, "image")))
    regions = (Region(label=truth.kind, box=box, source="phantom"),) if box else ()
    return Study(image, truth, regions, exchanges(seed, split, index, truth, truth))


def study_truth(seed: int, split: str, index: int) -> Truth:
    """The true attributes of a study, without rendering it."""
    return draw_truth(stream(seed, split, index, "truth"))


def exchanges(
    seed: int, split: str, index: int, truth: Truth, reported: Truth
) -> tuple[Exchange, Exchange, Exchange]:
    """A report, a closed and an open exchange. Questions follow `truth`, answers `reported`."""
    rng = stream(seed, split, index, "words")
    report_prompt, closed, opened = (
        report_question(rng),
        closed_question(truth, rng),
        open_question(truth, rng),
    )
    return (
        Exchange("report", report_prompt, report(reported, rng)),
        Exchange("closed", closed.text, answer(closed, reported, rng)),
        Exchange("open", opened.text, answer(opened, reported, rng)),
    )
