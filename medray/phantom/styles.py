"""The two styles of phantoms: short reports about the lesion, and paragraphs about the chest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medray.config import PhantomStyle
from medray.phantom import paragraphs, studies
from medray.phantom.paragraphs import reading
from medray.phantom.paragraphs.study import exchanges as paragraph_exchanges
from medray.phantom.paragraphs.study import picture
from medray.phantom.paragraphs.study import study_truth as chest_truth
from medray.phantom.paragraphs.truth import ChestTruth
from medray.phantom.paragraphs.wording import REPORT_QUESTIONS as PARAGRAPH_QUESTIONS
from medray.phantom.studies.render import draw_geometry, render
from medray.phantom.studies.study import Exchange, Study, exchanges, study_truth
from medray.phantom.studies.truth import VALUES, Truth, stream
from medray.phantom.studies.wording import REPORT_QUESTIONS, read_report


@dataclass(frozen=True, slots=True)
class Style:
    """How the phantoms of one style are drawn and described, and how their reports are read.

    `study`, `truth` and `exchanges` take seed, split and index; `image` also the truth, and
    returns [48, 48, 3] uint8; `read` returns the attributes that a report asserts. A report
    leaves out no attribute but `optional` ones. `prior` holds, for an attribute, a value that a
    biased reader reports as another: left → right.
    """

    name: PhantomStyle
    values: Mapping[str, tuple[str, ...]]
    study: Callable[[int, str, int], Study]
    truth: Callable[[int, str, int], Truth]
    image: Callable[[int, str, int, Any], np.ndarray]
    exchanges: Callable[[int, str, int, Any, Any], tuple[Exchange, Exchange, Exchange]]
    read: Callable[[str], dict[str, str]]
    report_question: str
    prior: Mapping[str, tuple[str, str]]
    max_new_tokens: int  # of a report, with room to spare
    optional: frozenset[str] = frozenset()


def _short_image(seed: int, split: str, index: int, truth: Truth) -> np.ndarray:
    return render(truth, draw_geometry(stream(seed, split, index, "image")))[0]


def _chest_image(seed: int, split: str, index: int, truth: ChestTruth) -> np.ndarray:
    return picture(seed, split, index, truth)[0]


SHORT = Style(
    name="short",
    values=VALUES,
    study=studies.study,
    truth=study_truth,
    image=_short_image,
    exchanges=exchanges,
    read=read_report,
    report_question=REPORT_QUESTIONS[0],
    prior={"side": ("left", "right"), "heart": ("enlarged", "normal")},
    max_new_tokens=64,
)
PARAGRAPHS = Style(
    name="paragraphs",
    values=ChestTruth.values,
    study=paragraphs.study,
    truth=chest_truth,
    image=_chest_image,
    exchanges=paragraph_exchanges,
    read=reading.read_report,
    report_question=PARAGRAPH_QUESTIONS[0],
    prior={**SHORT.prior, "device_side": ("left", "right")},
    max_new_tokens=128,
    optional=frozenset({"device", "device_side", "bones", "bones_side"}),
)
STYLES: Mapping[str, Style] = {style.name: style for style in (SHORT, PARAGRAPHS)}
