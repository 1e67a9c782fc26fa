"""Means, intervals and the sign-flip test agree with closed forms and with SciPy's own tests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from tune.statistics import (
    detectable_difference,
    effect_size,
    holm,
    pairs_needed,
    sign_flip_p,
    smallest_p,
    summarise,
    t_interval,
)

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


def test_pairs_needed_is_where_the_smallest_p_passes_holms_first_step():
    assert [pairs_needed(comparisons=m) for m in (1, 2, 3, 5, 6, 7)] == [6, 7, 7, 8, 8, 9]
    assert [pairs_needed(level) for level in (0.5, 0.1, 0.01)] == [2, 5, 8]
    for m in (1, 2, 5, 9):
        n = pairs_needed(comparisons=m)
        assert holm([smallest_p(n)] * m)[0] <= 0.05 < holm([smallest_p(n - 1)] * m)[0]  # type: ignore[operator]


@given(differences)
def test_order_of_seeds_changes_nothing(values: list[float]):
    turned = values[::-1]
    assert sign_flip_p(turned) == sign_flip_p(values)
    assert t_interval(turned) == pytest.approx(t_interval(values))
    assert effect_size(turned) == pytest.approx(effect_size(values))


@given(differences)
def test_swapping_the_sides_flips_signs_and_keeps_p(values: list[float]):
    swapped = [-value for value in values]
    assert sign_flip_p(swapped) == sign_flip_p(values)
    low, high = t_interval(values) or (0, 0)
    assert t_interval(swapped) == pytest.approx((-high, -low))
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
    with pytest.raises(ValueError, match=r"p_values: expected numbers from 0 to 1, found 1.5 at place 1"):
        holm([0.5, 1.5])
    with pytest.raises(ValueError, match=r"p_values: expected numbers from 0 to 1, found nan at place 0"):
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


def test_detectable_difference_is_found_with_its_power_by_simulation():
    rng = np.random.default_rng(5)
    for pairs, comparisons, power in ((5, 1, 0.8), (8, 3, 0.5), (20, 1, 0.9)):
        true = detectable_difference(0.01, pairs, power=power, comparisons=comparisons)
        assert true is not None
        drawn = rng.normal(true, 0.01, (20_000, pairs))
        found = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05 / comparisons)
        assert found == pytest.approx(power, abs=0.012)  # four standard errors


@pytest.mark.parametrize(("pairs", "comparisons", "power"), [(2, 1, 0.8), (3, 5, 0.8), (6, 1, 0.5), (10, 2, 0.99)])
def test_detectable_difference_has_its_power_by_integration(pairs: int, comparisons: int, power: float):
    # Given the standard deviation that the pairs show, a multiple of chi, the mean is normal: no noncentral t.
    shift = (detectable_difference(1.0, pairs, power=power, comparisons=comparisons) or 0) * math.sqrt(pairs)
    df = pairs - 1
    bound = stats.t.isf(0.025 / comparisons, df)

    def beyond(spread: float) -> float:
        far = bound * spread / math.sqrt(df)
        return float(stats.chi.pdf(spread, df) * (stats.norm.sf(far - shift) + stats.norm.cdf(-far - shift)))

    assert quad(beyond, 0, np.inf, epsabs=1e-11)[0] == pytest.approx(power, abs=1e-8)


def test_detectable_difference_is_the_tabled_one():
    # A paired t-test finds d_z = 0.5 with a power of 0.8 from 34 pairs on (Cohen 1988), not from 33.
    of_33, of_34 = detectable_difference(1.0, 33), detectable_difference(1.0, 34)
    assert of_33 is not None and of_34 is not None
    assert of_34 < 0.5 < of_33


@given(st.integers(2, 40), st.floats(0.001, 1), st.integers(1, 6))
def test_more_pairs_detect_less_and_more_comparisons_need_more(pairs: int, std: float, comparisons: int):
    here = detectable_difference(std, pairs, comparisons=comparisons)
    more_pairs = detectable_difference(std, pairs + 1, comparisons=comparisons)
    more_comparisons = detectable_difference(std, pairs, comparisons=comparisons + 1)
    assert here is not None and more_pairs is not None and more_comparisons is not None
    assert more_pairs < here < more_comparisons
    assert detectable_difference(2 * std, pairs, comparisons=comparisons) == pytest.approx(2 * here)


def test_detectable_difference_of_no_spread_is_none_at_all():
    assert detectable_difference(0.0, 5) == 0.0
    assert detectable_difference(0.1, 1) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"std": -1.0}, "std: expected a standard deviation, 0 or more, found -1.0"),
        ({"std": math.nan}, "std: expected a standard deviation, 0 or more, found nan"),
        ({"power": 1.0}, "power: expected a number between 0.05 .the level. and 1, found 1.0"),
        ({"power": 0.01}, "power: expected a number between 0.05 .the level. and 1, found 0.01"),
        ({"level": 5}, "level: expected a number between 0 and 1, found 5"),
        ({"comparisons": 0}, "comparisons: expected at least 1, found 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, float], said: str):
    with pytest.raises(ValueError, match=said):
        detectable_difference(**({"std": 0.01, "pairs": 5} | arguments))  # type: ignore[arg-type]
