"""Means, intervals, effects and corrected p-values agree with closed forms and with SciPy's own tests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tune.stats.holm import holm
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import effect_size, summarise, t_interval

# Accuracies are counts over a number of samples.
differences = st.lists(st.integers(-30, 30).map(lambda correct: correct / 100), min_size=2, max_size=8)
p_values = st.lists(st.none() | st.floats(0, 1), max_size=8)


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


def test_equal_values_have_no_spread_and_no_interval_whatever_rounding_leaves():
    same = [count / 1100 - (count - 1) / 1100 for count in (3, 7, 501, 902)]
    assert len(set(same)) > 1
    assert summarise(same).std == 0.0  # type: ignore[union-attr]
    assert t_interval(same) is None and t_interval([1.0] * 5) is None


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


@given(differences)
def test_order_of_seeds_changes_nothing(values: list[float]):
    turned = values[::-1]
    assert sign_flip_p(turned) == sign_flip_p(values)
    interval = t_interval(values)
    assert t_interval(turned) == (None if interval is None else pytest.approx(interval))
    assert effect_size(turned) == pytest.approx(effect_size(values))


@given(differences)
def test_swapping_the_sides_flips_signs_and_keeps_p(values: list[float]):
    swapped = [-value for value in values]
    assert sign_flip_p(swapped) == sign_flip_p(values)
    interval = t_interval(values)
    assert t_interval(swapped) == (None if interval is None else pytest.approx((-interval[1], -interval[0])))
    size = effect_size(values)
    assert effect_size(swapped) == (None if size is None else pytest.approx(-size))


def test_holm_is_the_table_worked_by_hand():
    # m = 4: 4 x 0.01, 3 x 0.0125, 2 x 0.03, then 0.04, none below the one before.
    assert holm([0.04, 0.01, 0.0125, 0.03]) == pytest.approx([0.06, 0.04, 0.04, 0.06])


def test_holm_passes_over_comparisons_without_a_test():
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]
    assert holm([]) == []
    assert holm([0.03]) == [0.03]


@given(p_values)
def test_holm_is_monotone_and_at_least_the_raw_p(values: list[float | None]):
    adjusted = holm(values)
    assert [p is None for p in adjusted] == [p is None for p in values]
    pairs = sorted((p, a) for p, a in zip(values, adjusted, strict=True) if p is not None and a is not None)
    assert all(p <= a <= min(1, len(pairs) * p) for p, a in pairs)
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)


@given(p_values, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_its_steps_reject(values: list[float | None], level: float):
    steps = sorted(p for p in values if p is not None)
    passed = list(itertools.takewhile(lambda step: step[1] * (len(steps) - step[0]) <= level, enumerate(steps)))
    assert sum(p is not None and p <= level for p in holm(values)) == len(passed)


def test_holm_refuses_what_is_no_p():
    with pytest.raises(ValueError, match=r"p_values: expected numbers from 0 to 1, found 1.5 at index 1"):
        holm([0.5, 1.5])
    with pytest.raises(ValueError, match=r"p_values: expected numbers from 0 to 1, found nan at index 0"):
        holm([math.nan])


def test_effect_size_is_cohens_with_hedges_correction():
    # d = 2 / 1; J for two degrees of freedom is gamma(1) / gamma(1 / 2) = 1 / sqrt(pi).
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2 / math.sqrt(math.pi))
    many = np.random.default_rng(0).normal(0.5, 1, 100)
    assert effect_size(many.tolist()) == pytest.approx(
        many.mean() / many.std(ddof=1) * (1 - 3 / (4 * 99 - 1)), rel=1e-4
    )


def test_effect_size_of_many_repeats_is_on_average_the_true_one():
    values = np.random.default_rng(1).normal(0.8, 1, (4000, 6))
    sizes = [effect_size(row) for row in values.tolist()]
    assert np.mean([size for size in sizes if size is not None]) == pytest.approx(0.8, abs=0.03)


def test_effect_size_is_none_where_nothing_varies_or_too_little_is_known():
    assert effect_size([]) is None
    assert effect_size([0.1]) is None
    assert effect_size([0.1, 0.2]) is None
    assert effect_size([0.0, 0.0, 0.0]) is None
    # The same point three times, but for rounding.
    assert 0.98 - 0.97 != 0.03 - 0.02
    assert effect_size([0.98 - 0.97, 0.97 - 0.96, 0.03 - 0.02]) is None
