"""One chest that is reported on in paragraphs: image, truth, questions and answers."""

from __future__ import annotations

import numpy as np

from medray.phantom.paragraphs.questions import answer, closed_question, open_question
from medray.phantom.paragraphs.render import draw_placement, render_chest
from medray.phantom.paragraphs.truth import ChestTruth, draw_chest_truth
from medray.phantom.paragraphs.wording import report, report_question
from medray.phantom.studies.render import Box, draw_geometry
from medray.phantom.studies.study import Exchange, Study
from medray.phantom.studies.truth import stream
from medray.records import Region


def study(seed: int, split: str, index: int) -> Study:
    """Study number `index` of a split ("train", "heldout", "base", …); deterministic.

    Its regions are the boxes of lesion, fracture and device, those that there are.
    """
    truth = study_truth(seed, split, index)
    image, boxes = picture(seed, split, index, truth)
    regions = tuple(Region(label=name, box=box, source="phantom") for name, box in boxes.items())
    return Study(image, truth, regions, exchanges(seed, split, index, truth, truth))


def study_truth(seed: int, split: str, index: int) -> ChestTruth:
    """The true attributes of a study, without rendering it."""
    return draw_chest_truth(stream(seed, split, index, "chest-truth"))


def picture(
    seed: int, split: str, index: int, truth: ChestTruth
) -> tuple[np.ndarray, dict[str, Box]]:
    """The study's image [48, 48, 3] uint8 and the boxes of what has one, by name."""
    geometry = draw_geometry(stream(seed, split, index, "chest-image"))
    placement = draw_placement(stream(seed, split, index, "chest-device"))
    return render_chest(truth, geometry, placement)


def exchanges(
    seed: int, split: str, index: int, truth: ChestTruth, reported: ChestTruth
) -> tuple[Exchange, Exchange, Exchange]:
    """A report, a closed and an open exchange. Questions follow `truth`, answers `reported`."""
    rng = stream(seed, split, index, "chest-words")
    prompt, closed, opened = (
        report_question(rng),
        closed_question(truth, rng),
        open_question(truth, rng),
    )
    return (
        Exchange("report", prompt, report(reported, rng)),
        Exchange("closed", closed.text, answer(closed, reported, rng)),
        Exchange("open", opened.text, answer(opened, reported, rng)),
    )
