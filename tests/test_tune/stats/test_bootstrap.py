"""The bootstrap over seeds and test samples is its definition's, and SciPy's where SciPy has it."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference.resampling import resampled_differences
from scipy import stats

from tune.stats import bootstrap
from tune.stats.bootstrap import bootstrap_accuracy, paired_bootstrap


def answers(seed: int, seeds: int = 5, samples: int = 40, share: float = 0.8) -> NDArray[np.bool_]:
    """Runs that mostly stumble over the same hard samples."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(0, 0.2, samples)
    return np.asarray(rng.random((seeds, samples)) < share + hard)


A, B = answers(1), answers(2, share=0.7)
USERS = np.arange(40) ** 2 % 23 % 7  # groups of 1 to 11 samples
shapes = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(0, 1000))


@pytest.mark.parametrize("clusters", [None, USERS], ids=["samples", "users"])
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_bootstrap_is_that_of_plain_loops(clusters: NDArray[np.int64] | None, seeds: int):
    values = resampled_differences(A[:seeds], B[:seeds], clusters, 300, 4)
    found = paired_bootstrap(A[:seeds], B[:seeds], clusters=clusters, repeats=300, seed=4)
    assert found.interval == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert found.std == pytest.approx(np.std(values))
    assert found.estimate == pytest.approx(A[:seeds].mean() - B[:seeds].mean())


def test_chunks_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch):
    whole = paired_bootstrap(A, B, repeats=101)
    monkeypatch.setattr(bootstrap, "_MOST_DRAWS", 7 * 40)
    assert paired_bootstrap(A, B, repeats=101) == whole


@pytest.mark.parametrize("clusters", [None, USERS], ids=["samples", "users"])
def test_intervals_of_the_same_resamples_are_scipys(clusters: NDArray[np.int64] | None):
    totals, sizes = bootstrap.sum_by_cluster(A.astype(int) - B, clusters)
    drawn = bootstrap._resample(totals, sizes, 999, 5)

    def difference(runs: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
        return float(totals[np.ix_(runs, groups)].sum() / (len(runs) * sizes[groups].sum()))

    expected = stats.bootstrap(
        (np.arange(len(totals)), np.arange(len(sizes))),
        difference,
        vectorized=False,
        n_resamples=0,
        method="percentile",
        bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn),
    ).confidence_interval
    found = paired_bootstrap(A, B, clusters=clusters, repeats=999, seed=5).interval
    assert found == pytest.approx(tuple(expected), abs=1e-9)


def test_interval_of_one_run_is_about_that_of_scipys_own_resamples():
    own = bootstrap_accuracy(A[:1])
    scipys = stats.bootstrap((A[0].astype(float),), np.mean, method="percentile", rng=np.random.default_rng(0))
    assert own.interval == pytest.approx(tuple(scipys.confidence_interval), abs=0.026)  # one sample is 0.025
    assert own.std == pytest.approx(scipys.standard_error, rel=0.05)


def test_std_is_that_of_the_crossed_design_in_closed_form():
    d = A.astype(float) - B
    rest = d - d.mean(1, keepdims=True) - d.mean(0) + d.mean()
    variance = d.mean(1).var() / 5 + d.mean(0).var() / 40 + (rest**2).mean() / 200
    assert paired_bootstrap(A, B, repeats=20_000).std == pytest.approx(np.sqrt(variance), rel=0.03)


def test_whole_groups_are_drawn_so_that_copies_of_a_sample_tell_nothing_more():
    samples = bootstrap_accuracy(A)
    copies = bootstrap_accuracy(np.repeat(A, 9, axis=1), clusters=np.repeat(np.arange(40), 9))
    assert copies.interval == pytest.approx(samples.interval)
    assert copies.std == pytest.approx(samples.std)
    assert bootstrap_accuracy(np.repeat(A, 9, axis=1)).std < 0.8 * samples.std


def test_groups_may_be_named():
    named = np.array([f"user{user}" for user in USERS])
    assert paired_bootstrap(A, B, clusters=named, repeats=99).interval == pytest.approx(
        paired_bootstrap(A, B, clusters=USERS, repeats=99).interval
    )


def test_shares_tell_seeds_from_samples():
    by_seed = np.repeat([[True], [False], [True], [True]], 30, axis=1)
    found = bootstrap_accuracy(by_seed, repeats=99)
    assert (found.seed_share, found.sample_share) == (1.0, 0.0)
    by_sample = np.repeat(np.arange(30)[None] % 3 == 0, 4, axis=0)
    found = bootstrap_accuracy(by_sample, repeats=99)
    assert (found.seed_share, found.sample_share) == (0.0, 1.0)
    neither = np.random.default_rng(0).random((200, 300)) < 0.5
    found = bootstrap_accuracy(neither, repeats=9)
    assert found.seed_share is not None and found.sample_share is not None
    assert max(found.seed_share, found.sample_share) < 0.3


def test_shares_are_those_of_the_components_that_made_the_data():
    # Half of the seeds are better by 0.4, half of the samples easier by 0.2: variances 0.04 and 0.01, and the rest of
    # a coin's 0.25 is that of a seed with a sample.
    by_seed, by_sample = np.resize([-0.2, 0.2], (200, 1)), np.resize([-0.1, 0.1], 300)
    right = np.random.default_rng(2).random((200, 300)) < 0.5 + by_seed + by_sample
    found = bootstrap_accuracy(right, repeats=9)
    parts = np.array([0.04 / 200, 0.01 / 300, 0.2 / 60_000])
    assert found.standard_error == pytest.approx(np.sqrt(parts.sum()), rel=0.03)
    assert (found.seed_share, found.sample_share) == pytest.approx(tuple(parts[:2] / parts.sum()), abs=0.02)


def test_one_seed_resamples_samples_alone_and_tells_no_shares():
    found = paired_bootstrap(A[:1], B[:1], repeats=1000)
    assert found.seed_share is None and found.sample_share is None and found.standard_error is None
    assert found.interval[0] < found.estimate < found.interval[1]


def test_equal_runs_differ_by_nothing():
    found = paired_bootstrap(A, A, repeats=99)
    assert (found.estimate, found.interval, found.std) == (0.0, (0.0, 0.0), 0.0)
    assert found.seed_share is None and found.sample_share is None


@given(shapes, st.booleans())
def test_swapping_a_and_b_flips_signs(shape: tuple[int, int, int], grouped: bool):
    seeds, samples, number = shape
    a, b = np.random.default_rng(number).random((2, seeds, samples)) < 0.6
    clusters = np.arange(samples) // 2 if grouped else None
    one, other = (paired_bootstrap(*pair, clusters=clusters, repeats=60) for pair in ((a, b), (b, a)))
    assert one.estimate == -other.estimate
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert one.std == pytest.approx(other.std)
    assert one.seed_share == pytest.approx(other.seed_share)


@given(shapes)
def test_order_of_seeds_and_samples_changes_nothing_but_the_draw(shape: tuple[int, int, int]):
    seeds, samples, number = shape
    rng = np.random.default_rng(number)
    a, b = rng.random((2, seeds, samples)) < 0.6
    rows, columns = rng.permutation(seeds), rng.permutation(samples)
    clusters = np.arange(samples) // 3
    one = paired_bootstrap(a, b, clusters=clusters, repeats=10)
    other = paired_bootstrap(a[rows][:, columns], b[rows][:, columns], clusters=clusters[columns], repeats=10)
    assert one.estimate == pytest.approx(other.estimate)
    assert one.seed_share == pytest.approx(other.seed_share)
    assert one.sample_share == pytest.approx(other.sample_share)


@given(shapes)
def test_intervals_lie_within_what_can_be(shape: tuple[int, int, int]):
    seeds, samples, number = shape
    right = np.random.default_rng(number).random((seeds, samples)) < 0.9
    found = bootstrap_accuracy(right, repeats=50)
    assert 0 <= found.interval[0] <= found.interval[1] <= 1
    if found.seed_share is not None and found.sample_share is not None:
        assert 0 <= found.seed_share + found.sample_share <= 1 + 1e-12


def test_memory_does_not_grow_with_the_repeats():
    right = answers(3, 10, 10_000)
    tracemalloc.start()
    bootstrap_accuracy(right, repeats=300)  # at once: 36 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (np.ones((2, 3)), r"right_a: expected bool \(seeds, samples\), at least one of each, found float64 \(2, 3\)"),
        (np.ones(3, bool), r"right_a: expected bool .*, found bool \(3,\)"),
        (np.ones((2, 0), bool), r"right_a: expected bool .*, found bool \(2, 0\)"),
        (np.ones((5, 39), bool), r"right_b: expected .* of right_a, \(5, 39\), found \(5, 40\)"),
    ],
)
def test_arrays_of_another_shape_are_refused(right: NDArray[np.bool_], said: str):
    with pytest.raises(ValueError, match=said):
        paired_bootstrap(right, B)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="level: expected a number between 0 and 1, found 95"):
        bootstrap_accuracy(A, level=95)
    with pytest.raises(ValueError, match="repeats: expected at least 1, found 0"):
        bootstrap_accuracy(A, repeats=0)
    with pytest.raises(ValueError, match=r"clusters: expected a group for each of the 40 samples, found shape \(3,\)"):
        bootstrap_accuracy(A, clusters=[1, 2, 3])
