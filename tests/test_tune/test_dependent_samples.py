"""Intervals by group are those of a ratio, and reach what they promise where samples are not independent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tune.dependent_samples import clustered_interval, effective_samples
from tune.statistics import t_interval

RNG = np.random.default_rng(1)
RIGHT, USERS = RNG.random(60) < 0.8, np.repeat(np.arange(6), [4, 6, 8, 12, 14, 16])


def test_with_groups_of_one_size_it_is_the_t_interval_of_their_accuracies():
    accuracies = RIGHT.reshape(6, 10).mean(1)
    assert clustered_interval(RIGHT, np.repeat(np.arange(6), 10)) == pytest.approx(t_interval(accuracies.tolist()))


def test_standard_error_is_the_cluster_robust_one_of_a_regression_on_a_constant():
    # Sandwich by hand: bread 1 / n, meat the squared sums of residuals by group, and the factor for few groups.
    residuals = RIGHT - RIGHT.mean()
    meat = sum(residuals[np.equal(USERS, user)].sum() ** 2 for user in range(6))
    half = stats.t.ppf(0.975, 5) * np.sqrt(6 / 5 * meat) / 60
    assert clustered_interval(RIGHT, USERS) == pytest.approx((RIGHT.mean() - half, RIGHT.mean() + half))


def test_a_level_closer_to_1_is_narrower():
    narrow, wide = clustered_interval(RIGHT, USERS, 0.2), clustered_interval(RIGHT, USERS, 0.01)
    assert narrow is not None and wide is not None
    assert wide[0] < narrow[0] < RIGHT.mean() < narrow[1] < wide[1]


def test_several_runs_count_by_their_mean():
    runs = np.random.default_rng(3).random((4, 60)) < 0.7
    accuracies = runs.reshape(4, 6, 10).mean((0, 2))
    assert clustered_interval(runs, np.repeat(np.arange(6), 10)) == pytest.approx(t_interval(accuracies.tolist()))


def test_one_group_has_no_interval():
    assert clustered_interval(RIGHT, np.zeros(60, int)) is None
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
    assert clustered_interval(np.ones(60, bool), USERS) == (1.0, 1.0)


def test_interval_covers_where_one_that_takes_samples_for_independent_does_not():
    rng = np.random.default_rng(11)
    users = np.repeat(np.arange(20), 12)
    covered, naive = 0, 0
    for _ in range(400):
        skill = rng.beta(8, 2, 20)
        right = rng.random(240) < skill[users]
        low, high = clustered_interval(right, users) or (1, 0)
        covered += low <= 0.8 <= high
        half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 240)
        naive += abs(right.mean() - 0.8) <= half
    assert 0.91 <= covered / 400 <= 0.98
    assert naive / 400 < 0.9


@given(st.integers(0, 1000))
def test_order_of_samples_and_names_of_groups_change_nothing(number: int):
    order = np.random.default_rng(number).permutation(60)
    named = np.array([f"user{9 - user}" for user in USERS])
    assert clustered_interval(RIGHT[order], named[order]) == pytest.approx(clustered_interval(RIGHT, USERS))
    assert effective_samples(RIGHT[order], named[order]) == pytest.approx(effective_samples(RIGHT, USERS))


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"right: expected bool .*, found float64 \(2,\)\. Read it: tune\.predictions"):
        clustered_interval([0.5, 1.0], [1, 2])
    with pytest.raises(ValueError, match="clusters: expected a group for each of the 60 samples"):
        effective_samples(RIGHT, [1, 2])
