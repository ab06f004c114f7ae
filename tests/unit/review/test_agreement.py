"""Intervals and agreement against values derived by hand, and against scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from medray.review.agreement import MISSING, agreement, cohens_kappa, krippendorffs_alpha, wilson


def test_wilson_by_hand():
    """9 of 10: z² = 3.8415; centre (0.9 + 0.19207)/1.38415 = 0.78898; half
    1.95996·√(0.009 + 0.0096037)/1.38415 = 0.19314."""
    low, high = wilson(0.9, 10)
    assert low == pytest.approx(0.59585, abs=2e-5)
    assert high == pytest.approx(0.98213, abs=2e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (7, 20), (20, 20), (1, 3), (450, 500)])
def test_wilson_as_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def labels(table: dict[tuple[int, int], int]) -> np.ndarray:
    return np.array([pair for pair, n in table.items() for _ in range(n)])


def test_kappa_by_hand():
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, by chance 0.5·0.6 + 0.5·0.4 = 0.5,
    so kappa = 0.4."""
    two = labels({(0, 0): 20, (0, 1): 5, (1, 0): 10, (1, 1): 15})
    assert cohens_kappa(two) == pytest.approx(0.4)
    found = agreement(two)
    assert found is not None
    assert found.method == "Cohen's kappa"
    assert (found.value, found.equal, found.pairs) == (pytest.approx(0.4), pytest.approx(0.7), 50)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.4 < found.high


def test_kappa_of_readers_who_agree_or_do_not():
    assert cohens_kappa(labels({(0, 0): 3, (1, 1): 3})) == 1
    assert cohens_kappa(labels({(0, 1): 3, (1, 0): 3})) == -1
    assert cohens_kappa(labels({(0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 1})) == 0
    assert np.isnan(cohens_kappa(labels({(2, 2): 5})))


def test_alpha_by_hand():
    """Three readers: (0,0,0), (0,0,1), (1,1,–), and (1,–,–), which is of one reader and does not
    count. Answers that count: 0 five times, 1 three times; n = 8. Unequal ordered pairs: the
    second has 4, weighted by 1/2 = 2. By chance (64 − 25 − 9) = 30. alpha = 1 − 7·2/30."""
    m = MISSING
    three = np.array([[0, 0, 0], [0, 0, 1], [1, 1, m], [1, m, m]])
    assert krippendorffs_alpha(three[:3]) == pytest.approx(1 - 14 / 30)
    found = agreement(three)
    assert found is not None
    assert found.method == "Krippendorff's alpha"
    assert found.value == pytest.approx(1 - 14 / 30)
    assert (found.equal, found.pairs) == (pytest.approx(6 / 8), 3)


def test_alpha_as_a_naive_count():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 4, (30, 4))
    answers[rng.random(answers.shape) < 0.3] = MISSING
    answers = answers[(answers != MISSING).sum(axis=1) > 1]
    units = [[a for a in row if a != MISSING] for row in answers]
    values = [a for unit in units for a in unit]
    n = len(values)
    observed = sum(
        sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    chance = sum(a != b for a, b in itertools.permutations(values, 2)) / (n - 1)
    assert krippendorffs_alpha(answers) == pytest.approx(1 - observed / chance)


def test_agreement_that_cannot_be_known():
    assert agreement(np.array([[0, MISSING], [MISSING, 1]])) is None
    same = agreement(np.array([[0, 0], [0, 0]]))
    assert same is not None
    assert (same.value, same.low, same.high, same.equal) == (None, None, None, 1)


def test_the_interval_is_the_same_every_time():
    two = labels({(0, 0): 20, (0, 1): 5, (1, 0): 10, (1, 1): 15})
    assert agreement(two) == agreement(two)
