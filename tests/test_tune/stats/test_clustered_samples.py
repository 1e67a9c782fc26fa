"""How much test samples are worth that are not independent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.stats.clustered_samples import effective_samples

RNG = np.random.default_rng(1)
RIGHT, USERS = RNG.random(60) < 0.8, np.repeat(np.arange(6), [4, 6, 8, 12, 14, 16])


def test_design_effect_is_that_of_the_cluster_robust_error_of_a_regression_on_a_constant():
    # Sandwich by hand: bread 1 / n, meat the squared sums of residuals by group, and the factor for few groups.
    residuals = RIGHT - RIGHT.mean()
    meat = sum(residuals[np.equal(USERS, user)].sum() ** 2 for user in range(6))
    squared_error = 6 / 5 * meat / 60**2
    assert effective_samples(RIGHT, USERS) == pytest.approx(RIGHT.var(ddof=1) / squared_error)


def test_several_runs_count_by_their_mean():
    runs = np.random.default_rng(3).random((4, 60)) < 0.7
    # Of groups of one size the error is that of the mean of their accuracies.
    accuracies = runs.reshape(4, 6, 10).mean((0, 2))
    expected = runs.mean(0).var(ddof=1) / (accuracies.var(ddof=1) / 6)
    assert effective_samples(runs, np.repeat(np.arange(6), 10)) == pytest.approx(expected)


def test_one_group_tells_nothing_of_others():
    assert effective_samples(RIGHT, np.zeros(60, int)) is None


def test_copies_of_samples_are_worth_as_many_as_there_are_originals():
    assert effective_samples(np.repeat(RIGHT, 5), np.repeat(np.arange(60), 5)) == pytest.approx(60, rel=0.02)


def test_groups_that_answer_alike_are_worth_a_sample_each():
    assert effective_samples(np.repeat([True, False, True, True], 25), np.repeat(np.arange(4), 25)) == pytest.approx(
        4, rel=0.3
    )


def test_groups_of_one_sample_are_worth_all_samples():
    assert effective_samples(RIGHT, np.arange(60)) == pytest.approx(60)


def test_nothing_to_tell_where_all_are_right():
    assert effective_samples(np.ones(60, bool), USERS) is None


@given(st.integers(0, 1000))
def test_order_of_samples_and_names_of_groups_change_nothing(number: int):
    order = np.random.default_rng(number).permutation(60)
    named = np.array([f"user{9 - user}" for user in USERS])
    assert effective_samples(RIGHT[order], named[order]) == pytest.approx(effective_samples(RIGHT, USERS))


def test_arrays_of_another_shape_are_refused():
    expected = (
        r"right: expected bool .*, found float64 \(2,\)\. Read it: tune\.comparison\.sample_predictions\.read_correct"
    )
    with pytest.raises(ValueError, match=expected):
        effective_samples([0.5, 1.0], [1, 2])
    with pytest.raises(ValueError, match="clusters: expected a group for each of the 60 samples"):
        effective_samples(RIGHT, [1, 2])
