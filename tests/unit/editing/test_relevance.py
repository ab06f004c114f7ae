"""Clinical relevance: raw scores and their normalisation."""

from __future__ import annotations

import math

import pytest

from medray.editing.relevance import normalise, relevance
from medray.records import Edit, Span


def test_an_edit_is_as_relevant_as_its_worst_error() -> None:
    spans = (Span(0, 1, "size", 0.5, ""), Span(2, 3, "side", 1.0, ""))
    assert relevance(Edit("wrong", "x", spans, spans)) == 1.0
    assert relevance(Edit("wrong", "x", spans[:1], spans[:1])) == 0.5
    assert relevance(Edit("abstain")) == 0.0


def test_a_window_computed_by_hand() -> None:
    # mean .6, deviations -.2, -.1, .1, .2: variance .025; ×√(.1/.025) = ×2
    normalised = normalise([0.4, 0.5, 0.7, 0.8])
    assert normalised == pytest.approx([0.75, 0.8, 1.2, 1.25])  # 0.6 and 1.4 are clipped


def test_before_clipping_mean_is_one_and_variance_a_tenth() -> None:
    scores = [0.5] * 10 + [0.5 + 1e-3, 0.5 - 1e-3] * 20
    normalised = normalise(scores)
    inside = [g for g in normalised if 0.75 < g < 1.25]
    assert inside == pytest.approx([1.0] * 10)
    assert all(0.75 <= g <= 1.25 for g in normalised)


@pytest.mark.parametrize("window", [[], [0.3], [0.7] * 5, [0.1 + 0.2, 0.3]])
def test_constant_windows_give_one(window: list[float]) -> None:
    assert normalise(window) == [1.0] * len(window)


def test_none_returns_the_scores() -> None:
    assert normalise([0.1, 1.0], mode="none") == [0.1, 1.0]


def test_an_invalid_score_or_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        normalise([0.5, math.nan])
    with pytest.raises(ValueError, match="zscore"):
        normalise([0.5], mode="zscore")  # type: ignore[arg-type]
