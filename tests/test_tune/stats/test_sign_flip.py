"""The sign-flip test: its p counted by hand, how many pairs it takes, and how small a difference it finds."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tune.stats.holm import holm
from tune.stats.sign_flip import detectable_difference, pairs_needed, sign_flip_p, smallest_p


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [3.0, -1.0, 2.0], [0.5, 0.5, -0.25, 1.0, 2.0], [0.0, 0.0, 1.0]])
def test_sign_flip_p_counts_every_sign_pattern(values: list[float]):
    means = [np.dot(signs, values) for signs in itertools.product((1, -1), repeat=len(values))]
    expected = np.mean(np.abs(means) >= abs(sum(values)) - 1e-12)
    assert sign_flip_p(values) == pytest.approx(expected)


def test_sign_flip_p_of_equal_runs_is_one_and_of_none_is_none():
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([]) is None


def test_the_observed_pattern_is_one_of_those_drawn():
    """Without it, p would be 0, which no number of permutations can show (Phipson and Smyth 2010)."""
    assert sign_flip_p([0.01 * (k + 1) for k in range(40)]) == 1 / (2**14 + 1)


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


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=9), st.integers(1000, 2000))
def test_patterns_that_tie_count_whatever_rounding_makes_of_accuracies(counts: list[tuple[int, int]], samples: int):
    whole = [a - b for a, b in counts]
    sums = [sum(np.multiply(signs, whole)) for signs in itertools.product((1, -1), repeat=len(whole))]
    expected = Fraction(sum(abs(one) >= abs(sum(whole)) for one in sums), len(sums))
    assert sign_flip_p([a / samples - b / samples for a, b in counts]) == pytest.approx(float(expected))


def test_ties_that_scipy_misses_are_counted():
    lif = [8956, 8772, 8589, 9650, 8603, 9741, 9299]
    better = [4, 2, -3, 5, 5, 3, 3]
    found = sign_flip_p([(right + more) / 10_000 - right / 10_000 for right, more in zip(lif, better, strict=True)])
    assert found == 10 / 128


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "comparisons", "power"), [(6, 1, 0.8), (8, 2, 0.8), (10, 5, 0.5), (20, 1, 0.9)])
def test_detectable_difference_is_found_with_its_power(pairs: int, comparisons: int, power: float):
    true = detectable_difference(0.01, pairs, power=power, comparisons=comparisons)
    assert true is not None
    drawn = np.random.default_rng(5).normal(true, 0.01, (2000, pairs)).tolist()
    found = np.mean([(sign_flip_p(row) or 0) <= 0.05 / comparisons for row in drawn])
    assert found == pytest.approx(power, abs=0.035)


@pytest.mark.parametrize(("pairs", "comparisons"), [(1, 1), (2, 1), (5, 1), (7, 5)])
def test_too_few_pairs_find_no_difference_of_any_size(pairs: int, comparisons: int):
    assert detectable_difference(0.01, pairs, comparisons=comparisons) is None
    assert sign_flip_p([9.0] * pairs) == smallest_p(pairs) > 0.05 / comparisons


def test_many_pairs_find_about_what_a_t_test_finds():
    # A paired t-test finds d_z = 0.5 with a power of 0.8 from 34 pairs on (Cohen 1988).
    assert detectable_difference(1.0, 34) == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
@given(st.integers(9, 13), st.floats(0.001, 1), st.integers(1, 4))
def test_more_pairs_detect_less_and_more_comparisons_need_more(pairs: int, std: float, comparisons: int):
    here = detectable_difference(std, pairs, comparisons=comparisons)
    more_pairs = detectable_difference(std, pairs + 1, comparisons=comparisons)
    more_comparisons = detectable_difference(std, pairs, comparisons=comparisons + 1)
    assert here is not None and more_pairs is not None and more_comparisons is not None
    assert more_pairs < here < more_comparisons
    assert detectable_difference(2 * std, pairs, comparisons=comparisons) == pytest.approx(2 * here)


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
        detectable_difference(**({"std": 0.01, "pairs": 8} | arguments))  # type: ignore[arg-type]
