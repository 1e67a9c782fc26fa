"""Learning curves have the area that geometry says, and curves are compared only where both were measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.stats.curves import at_equal, learning_curve_area

increasing = st.lists(st.integers(0, 100), min_size=2, max_size=8, unique=True).map(sorted)


def test_area_is_the_mean_height():
    assert learning_curve_area([1, 2, 3], [0.5, 0.5, 0.5]) == 0.5
    assert learning_curve_area([1, 2, 4], [0.0, 1.0, 1.0]) == pytest.approx((0.5 + 2) / 3)


def test_of_two_curves_that_end_alike_the_faster_has_more():
    slow, fast = learning_curve_area([1, 2, 3], [0.1, 0.3, 0.9]), learning_curve_area([1, 2, 3], [0.1, 0.8, 0.9])
    assert slow is not None and fast is not None
    assert slow < fast


def test_area_of_one_epoch_is_its_value_and_of_none_is_none():
    assert learning_curve_area([3], [0.4]) == 0.4
    assert learning_curve_area([], []) is None


@given(increasing, st.data())
def test_area_lies_between_the_least_and_the_most(epochs: list[int], data: st.DataObject):
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(epochs), max_size=len(epochs)))
    area = learning_curve_area(epochs, values)
    assert area is not None
    assert min(values) - 1e-9 <= area <= max(values) + 1e-9


def test_a_point_on_the_line_changes_no_area():
    assert learning_curve_area([1, 5], [0.2, 0.8]) == pytest.approx(learning_curve_area([1, 2, 5], [0.2, 0.35, 0.8]))


def test_faulty_learning_curves_are_refused():
    with pytest.raises(ValueError, match="epochs: expected increasing numbers, found 1, 3, 2"):
        learning_curve_area([1, 3, 2], [0, 0, 0])
    with pytest.raises(ValueError, match=r"values: expected one value for each of epochs, shape \(2,\), found \(1,\)"):
        learning_curve_area([1, 2], [0.5])
    with pytest.raises(
        ValueError, match=r"values: expected finite numbers, found nan at index 1\. Count the run as diverged"
    ):
        learning_curve_area([1, 2], [0.5, math.nan])


def test_curves_are_read_at_the_costs_that_both_cover():
    found = at_equal([1, 3], [0.5, 0.9], [2, 4], [0.6, 0.8])
    assert found is not None
    assert found.cost.tolist() == [2, 3]
    assert found.accuracy_a == pytest.approx([0.7, 0.9])
    assert found.accuracy_b == pytest.approx([0.6, 0.7])


def test_curves_that_do_not_overlap_have_no_equal_cost():
    assert at_equal([1, 2], [0.5, 0.9], [3, 4], [0.6, 0.8]) is None
    assert at_equal([3], [0.5], [4], [0.6], at=3) is None


def test_curves_that_touch_are_read_where_they_touch():
    found = at_equal([1, 2], [0.5, 0.9], [2, 4], [0.6, 0.8])
    assert found is not None
    assert (found.cost.tolist(), found.accuracy_a, found.accuracy_b) == ([2], [0.9], [0.6])


def test_a_single_point_is_read_where_the_other_curve_covers_it():
    found = at_equal([2], [0.5], [1, 3], [0.6, 0.8])
    assert found is not None
    assert (found.cost.tolist(), found.accuracy_b) == ([2], pytest.approx([0.7]))


def test_falling_costs_are_turned_round():
    rising, falling = at_equal([1, 3], [0.5, 0.9], [2, 4], [0.6, 0.8]), at_equal([3, 1], [0.9, 0.5], [2, 4], [0.6, 0.8])
    assert rising is not None and falling is not None
    assert rising.accuracy_a.tolist() == falling.accuracy_a.tolist()


def test_nothing_is_extrapolated():
    with pytest.raises(ValueError, match=r"at: expected costs from 2 to 3, which both curves cover, found 3\.5"):
        at_equal([1, 3], [0.5, 0.9], [2, 4], [0.6, 0.8], at=[2.5, 3.5])
    found = at_equal([1, 3], [0.5, 0.9], [2, 4], [0.6, 0.8], at=[2.5])
    assert found is not None
    assert (found.accuracy_a, found.accuracy_b) == (pytest.approx([0.8]), pytest.approx([0.65]))


def test_faulty_cost_curves_are_refused():
    with pytest.raises(ValueError, match="cost_b: expected costs that all increase or all decrease, found 2, 4, 3"):
        at_equal([1, 3], [0.5, 0.9], [2, 4, 3], [0.6, 0.8, 0.7])
    with pytest.raises(ValueError, match="cost_a: expected costs that all increase or all decrease, found 1, 1"):
        at_equal([1, 1], [0.5, 0.9], [2, 4], [0.6, 0.8])
    with pytest.raises(ValueError, match="cost_a: expected at least one point, found none"):
        at_equal([], [], [2, 4], [0.6, 0.8])
    with pytest.raises(ValueError, match="accuracy_b: expected finite numbers, found inf at index 0"):
        at_equal([1], [0.5], [1, 4], [np.inf, 0.8])


@given(increasing, increasing, st.data())
def test_swapping_the_curves_swaps_the_accuracies(one: list[int], other: list[int], data: st.DataObject):
    draw = [data.draw(st.lists(st.floats(0, 1), min_size=len(x), max_size=len(x))) for x in (one, other)]
    found, swapped = at_equal(one, draw[0], other, draw[1]), at_equal(other, draw[1], one, draw[0])
    assert (found is None) == (swapped is None) == (max(one[0], other[0]) > min(one[-1], other[-1]))
    if found is not None and swapped is not None:
        assert found.cost.tolist() == swapped.cost.tolist()
        assert found.accuracy_a.tolist() == swapped.accuracy_b.tolist()
        assert found.accuracy_b.tolist() == swapped.accuracy_a.tolist()
        assert found.cost[0] == max(one[0], other[0]) and found.cost[-1] == min(one[-1], other[-1])
