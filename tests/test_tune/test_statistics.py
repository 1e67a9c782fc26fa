"""Means, intervals and the sign-flip test agree with closed forms and with SciPy's own tests."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from tune.statistics import pairs_needed, sign_flip_p, smallest_p, summarise, t_interval


def test_summary_is_the_mean_and_the_sample_standard_deviation():
    summary = summarise([1.0, 2.0, 4.0])
    assert summary is not None
    assert summary.mean == pytest.approx(7 / 3)
    assert summary.std == pytest.approx(np.sqrt((16 + 1 + 25) / 9 / 2))
    assert summary.n == 3


def test_one_value_has_no_spread_and_none_has_no_summary():
    assert summarise([]) is None
    assert summarise([0.5]).std is None  # type: ignore[union-attr]
    assert t_interval([0.5]) is None
    assert t_interval([]) is None


def test_t_interval_is_scipys_and_ends_where_the_t_test_says_p_is_the_level():
    values = [0.71, 0.74, 0.69, 0.80, 0.77]
    interval = t_interval(values)
    assert interval is not None
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert interval == pytest.approx(expected)
    assert stats.ttest_1samp(values, interval[0]).pvalue == pytest.approx(0.05)


def test_t_interval_of_two_values_is_the_closed_form():
    # With one degree of freedom t is Cauchy: its 97.5 % point is tan(0.475 pi).
    assert t_interval([1.0, 2.0]) == pytest.approx((1.5 - np.tan(0.475 * np.pi) / 2, 1.5 + np.tan(0.475 * np.pi) / 2))


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [3.0, -1.0, 2.0], [0.5, 0.5, -0.25, 1.0, 2.0], [0.0, 0.0, 1.0]])
def test_sign_flip_p_counts_every_sign_pattern(values: list[float]):
    means = [np.dot(signs, values) for signs in itertools.product((1, -1), repeat=len(values))]
    expected = np.mean(np.abs(means) >= abs(sum(values)) - 1e-12)
    assert sign_flip_p(values) == pytest.approx(expected)


def test_sign_flip_p_of_equal_runs_is_one_and_of_none_is_none():
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([]) is None


def test_sign_flip_p_of_many_pairs_is_drawn_and_repeatable():
    values = np.random.default_rng(3).normal(0.3, 1, 20).tolist()
    p = sign_flip_p(values)
    assert p == sign_flip_p(values)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.05)


def test_five_pairs_cannot_reach_the_level_and_six_can():
    assert smallest_p(5) == 0.0625 == sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0])
    assert smallest_p(6) == 0.03125 == sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert pairs_needed() == 6
    assert smallest_p(1) == 1.0
