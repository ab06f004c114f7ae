"""Intervals and paired tests against SciPy, and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medray.evaluation.resampling import differences, intervals
from medray.evaluation.sums import Figure, ratio, sum_table

ACCURACY = ratio("accuracy", "right", "n")


def table(values, clusters=None):
    rows = [{"right": float(value), "n": 1.0} for value in values]
    return sum_table(rows, clusters)


def test_sums_are_those_of_clusters_in_order_of_appearance():
    found = table([1, 0, 1, 1], ["b", "a", "b", "c"])
    assert found.rows[:, found.columns["right"]].tolist() == [2, 0, 1]
    assert found.rows[:, found.columns["n"]].tolist() == [2, 1, 1]
    assert found.value(ACCURACY) == 3 / 4
    assert found.value(ratio("absent", "x", "y")) is None


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(3).normal(5, 2, size=200)
    low, high = intervals([ACCURACY], table(values))["accuracy"]
    known = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert [low, high] == pytest.approx([known.low, known.high], abs=0.06)


def test_the_interval_of_a_proportion_covers_the_normal_one():
    low, high = intervals([ACCURACY], table([1] * 300 + [0] * 100))["accuracy"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert [low, high] == pytest.approx([0.75 - half, 0.75 + half], abs=0.01)


def test_answers_of_one_image_are_drawn_together():
    """Ten equal answers an image carry the information of one."""
    values = [value for value in [1, 0] * 20 for _ in range(10)]
    images = [image for image in range(40) for _ in range(10)]
    alone, together = (
        intervals([ACCURACY], table(values, clusters))["accuracy"] for clusters in (None, images)
    )
    widths = [high - low for low, high in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(10), rel=0.1)


def test_intervals_are_repeatable_and_need_two_clusters():
    many = table(np.random.default_rng(1).normal(size=50))
    assert intervals([ACCURACY], many) == intervals([ACCURACY], many)
    assert intervals([ACCURACY], many, seed=1) != intervals([ACCURACY], many)
    assert intervals([ACCURACY], table([1, 0], ["a", "a"])) == {}
    assert intervals([ratio("absent", "x", "y")], many) == {}


def test_resamples_without_a_case_of_the_kind_do_not_count():
    rows = [{"right": 1.0, "n": 1.0}, *({} for _ in range(9))]
    assert intervals([ACCURACY], sum_table(rows))["accuracy"] == [1.0, 1.0]


@pytest.mark.parametrize("n", [9, 60])
def test_the_paired_p_is_scipys(n):
    generator = np.random.default_rng(n)
    ours, theirs = generator.normal(0.4, 1, n), generator.normal(0, 1, n)
    found = differences([ACCURACY], table(ours), table(theirs))["accuracy"]
    known = stats.permutation_test(
        (ours, theirs),
        lambda x, y: np.mean(x) - np.mean(y),
        permutation_type="samples",
        n_resamples=99_999,
        rng=2,
    )
    assert found.value == pytest.approx(ours.mean() - theirs.mean())
    assert found.p == pytest.approx(known.pvalue, abs=1e-12 if n == 9 else 0.015)


def test_the_paired_p_of_right_and_wrong_is_the_sign_test():
    """Seven cases that only we have right, one that only they have: McNemar's exact test."""
    ours, theirs = [1] * 7 + [0] + [1, 0, 1, 0], [0] * 7 + [1] + [1, 0, 1, 0]
    found = differences([ACCURACY], table(ours), table(theirs))["accuracy"]
    assert found.p == pytest.approx(stats.binomtest(7, 8).pvalue)
    assert found.value == pytest.approx(6 / 12)
    assert 0 < found.low < found.value < found.high


def test_the_paired_interval_is_scipys():
    generator = np.random.default_rng(5)
    both = generator.normal(0, 3, 150)  # what the two share cancels
    ours, theirs = both + generator.normal(0.5, 1, 150), both + generator.normal(0, 1, 150)
    found = differences([ACCURACY], table(ours), table(theirs))["accuracy"]
    known = stats.bootstrap(
        (ours - theirs,), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert [found.low, found.high] == pytest.approx([known.low, known.high], abs=0.04)


def test_equal_answers_do_not_differ():
    for n in (6, 40):
        same = table([1, 0] * (n // 2))
        found = differences([ACCURACY], same, same)["accuracy"]
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_without_an_effect_p_is_uniform():
    generator = np.random.default_rng(8)
    values = []
    for _ in range(60):
        ours, theirs = generator.normal(size=(2, 30))
        values.append(differences([ACCURACY], table(ours), table(theirs))["accuracy"].p)
    assert np.mean(np.array(values) < 0.05) < 0.12
    assert 0.4 < np.mean(values) < 0.6


def test_a_figure_need_not_be_a_mean():
    spread = Figure("spread", ("right", "n"), lambda sums: np.abs(sums[..., 0] - sums[..., 1]))
    low, high = intervals([spread], table([1, 1, 0, 0]))["spread"]
    assert (low, high) == (0, 4)
