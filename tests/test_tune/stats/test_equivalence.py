"""Equivalence within a margin: equal to SciPy's t-tests, as rarely wrong as it says, as powerful as simulations are."""

from __future__ import annotations

import numpy as np
import pytest

from tune.stats.equivalence import difference_power, equivalence_p, equivalence_power, pairs_to_decide

stats = pytest.importorskip("scipy.stats")
RNG = np.random.default_rng(3)


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_p_is_the_larger_of_two_one_sided_t_tests_of_scipy(n: int):
    for _ in range(20):
        values = RNG.normal(RNG.uniform(-0.02, 0.02), 0.01, n)
        lower = stats.ttest_1samp(values, -0.005, alternative="greater").pvalue
        upper = stats.ttest_1samp(values, 0.005, alternative="less").pvalue
        assert equivalence_p(values.tolist(), 0.005) == pytest.approx(max(lower, upper), rel=1e-9)


def test_p_is_at_most_the_level_where_the_interval_of_90_per_cent_lies_within_the_margin():
    for _ in range(200):
        values = RNG.normal(RNG.uniform(-0.01, 0.01), 0.006, 8)
        low, high = stats.t.interval(0.9, 7, values.mean(), stats.sem(values))
        assert (equivalence_p(values.tolist(), 0.005) <= 0.05) == (low > -0.005 and high < 0.005)


def test_equal_differences_are_equivalent_only_by_the_resolution_of_a_test_sample():
    assert equivalence_p([0.0] * 8, 0.005) is None
    assert equivalence_p([0.0], 0.005, least_std=0.0005) is None
    # One of 2,000 samples resolves half a point, one of 200 does not.
    assert equivalence_p([0.0] * 8, 0.005, least_std=0.0005) < 1e-6
    assert equivalence_p([0.0] * 4, 0.005, least_std=0.005) > 0.05


def test_neurons_that_differ_by_the_margin_are_called_equivalent_in_one_of_twenty():
    values = np.random.default_rng(5).normal(0.005, 0.004, (4000, 8))
    found = np.mean([equivalence_p(row.tolist(), 0.005) <= 0.05 for row in values])
    print(f"called equivalent although they differ by the margin: {found:.4f}")
    assert found == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(("mean", "pairs"), [(0.0, 8), (0.002, 12), (0.0, 4)])
def test_power_is_that_of_simulated_comparisons(mean: float, pairs: int):
    values = np.random.default_rng(6).normal(mean, 0.005, (4000, pairs))
    t = stats.t.ppf(0.95, pairs - 1) * values.std(1, ddof=1) / pairs**0.5
    equivalent = np.mean(np.abs(values.mean(1)) + t <= 0.005)
    # Below a half, the bound is lower than the truth, and never decides anything.
    near = 0.02 if equivalent > 0.5 else 1
    assert equivalence_power(mean, 0.005, 0.005, pairs) == pytest.approx(equivalent, abs=near)
    different = np.mean(stats.ttest_1samp(values, 0, axis=1).pvalue <= 0.05)
    assert difference_power(mean, 0.005, pairs) == pytest.approx(different, abs=0.02) or mean == 0


def test_pairs_to_decide_are_the_fewest_with_the_power():
    needed = pairs_to_decide(0.001, 0.01, 0.005)
    assert needed is not None
    assert equivalence_power(0.001, 0.01, 0.005, needed) >= 0.8 > equivalence_power(0.001, 0.01, 0.005, needed - 1)
    # A mean at the margin is decided as a difference, not as equivalence.
    needed = pairs_to_decide(0.005, 0.01, 0.005)
    assert needed is not None
    assert difference_power(0.005, 0.01, needed) >= 0.8 > difference_power(0.005, 0.01, needed - 1)
    assert pairs_to_decide(0.005, 1.0, 0.005) is None
    assert pairs_to_decide(0.1, 0.01, 0.005, least=6) == 6


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_is_a_positive_number(margin: float):
    with pytest.raises(ValueError, match=r"margin: expected a difference of more than 0"):
        equivalence_p([0.1, 0.2], margin)
