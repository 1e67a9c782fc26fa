"""Disturbances of events and frames: numbers that are exact, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_layout import random_events

from pipeline.data import disturbances
from preprocess.events import Events

SEED = (3, 1, 0)
EVENTS = random_events(1, 400, height=16, width=12)
FRAMES = np.random.default_rng(0).integers(0, 4, (5, 2, 6, 7))


def rows(events: Events) -> set[tuple[int, ...]]:
    return set(zip(*(getattr(events, column).tolist() for column in "txyp"), strict=True))


def test_noise_adds_exactly_its_share_and_keeps_every_event():
    found = disturbances.add_noise(0.25, SEED)(7, EVENTS)
    assert len(found) == 500 and rows(EVENTS) <= rows(found)
    assert (np.diff(found.t) >= 0).all()
    assert (found.t.min(), found.t.max()) == (EVENTS.t.min(), EVENTS.t.max())
    found.checked()


def test_noise_is_uniform_over_pixels_and_polarities():
    found = disturbances.add_noise(500.0, SEED)(7, EVENTS)
    counts = np.bincount(found.address(), minlength=2 * 16 * 12)
    # 200,000 events in 384 places: 521 each, with a standard deviation of 23.
    assert abs(counts - 521).max() < 6 * 23


def test_hot_pixels_fire_at_their_rate_with_one_polarity():
    found = disturbances.add_hot_pixels(3, 1000.0, SEED)(7, EVENTS)
    span = int(EVENTS.t.max() - EVENTS.t.min())
    each = int(span * 1000 / 1e6)
    assert len(found) == 400 + 3 * each
    more = np.bincount(found.address(), minlength=384) - np.bincount(EVENTS.address(), minlength=384)
    assert sorted(more[more > 0].tolist()) == [each] * 3 and (np.flatnonzero(more) >= 16 * 12).all()
    hot = found.t[found.address() == more.argmax()]
    assert (found.t.min(), found.t.max()) == (EVENTS.t.min(), EVENTS.t.max()) and len(hot) >= each


def test_dropped_events_are_gone_and_the_others_in_order():
    found = disturbances.drop_events(0.3, SEED)(7, EVENTS)
    assert rows(found) < rows(EVENTS) and abs(len(found) - 280) < 6 * 9.2
    assert len(disturbances.drop_events(1.0, SEED)(7, EVENTS)) == 0
    assert rows(disturbances.drop_events(1e-12, SEED)(7, EVENTS)) == rows(EVENTS)


def test_jitter_changes_times_alone():
    found = disturbances.jitter_times(5000.0, SEED)(7, EVENTS)
    assert (np.diff(found.t) >= 0).all()
    assert np.array_equal(np.sort(found.address()), np.sort(EVENTS.address()))
    many = random_events(2, 20_000, height=4, width=4)
    order = np.argsort(many.t, kind="stable")
    same = disturbances.jitter_times(1e-9, SEED)(7, many)
    assert np.array_equal(same.t, many.t[order]) and np.array_equal(same.address(), many.address()[order])
    constant = Events(np.zeros(20_000, np.int64), many.x, many.y, many.p, 4, 4)
    assert np.std(disturbances.jitter_times(5000.0, SEED)(7, constant).t) == pytest.approx(5000, rel=0.03)


@pytest.mark.parametrize(
    "change",
    [
        disturbances.add_noise(0.5, SEED),
        disturbances.add_hot_pixels(2, 500.0, SEED),
        disturbances.drop_events(0.5, SEED),
        disturbances.jitter_times(100.0, SEED),
    ],
)
def test_samples_have_their_own_numbers_and_an_empty_one_stays_empty(change: disturbances.ChangeEvents):
    first, again, other = change(0, EVENTS), change(0, EVENTS), change(1, EVENTS)
    assert np.array_equal(first.t, again.t) and np.array_equal(first.x, again.x)
    assert len(first) != len(other) or not np.array_equal(first.t, other.t)
    assert len(change(0, Events.empty(4, 4))) == 0


def test_counts_of_frames_change_likewise():
    noisy = disturbances.add_noise_to_counts(0.5, SEED)(0, FRAMES)
    assert noisy.sum() == FRAMES.sum() + round(0.5 * FRAMES.sum()) and (noisy >= FRAMES).all()
    hot = disturbances.add_hot_pixels_to_counts(3, 9, SEED)(0, FRAMES) - FRAMES
    assert (hot[:, 0] == 0).all() and sorted(np.unique(hot[:, 1])) == [0, 9] and (hot[0] == hot).all()
    assert (hot[0] > 0).sum() == 3
    fewer = disturbances.drop_counts(0.5, SEED)(0, FRAMES)
    assert (fewer <= FRAMES).all() and abs(fewer.sum() - FRAMES.sum() / 2) < 6 * (FRAMES.sum() / 4) ** 0.5
    assert disturbances.drop_counts(1.0, SEED)(0, FRAMES).sum() == 0
