"""The emulated sensor against closed forms, its slow twin, and the statistics of its noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from reference.sensor import pixel_events

from preprocess.emulator.sensor import PixelModel, Sensor
from preprocess.events import Events

# Pixels that are all alike and speak only when they must.
IDEAL = PixelModel(mismatch=0.0, refractory_us=0.0, shot_hz=0.0, leak_hz=0.0)


def watch(model: PixelModel, levels: np.ndarray, times: list[int], seed: int = 0) -> Events:
    """The events of a film given as log luminance, shape (F, H, W)."""
    sensor = Sensor(model, *levels.shape[1:], seed)
    return sensor.expose(np.exp(levels).astype(np.float32), np.array(times))


def ramp(change: float, shape: tuple[int, int] = (1, 1)) -> np.ndarray:
    return np.stack([np.zeros(shape), np.full(shape, change)])


@pytest.mark.parametrize("change", [0.05, 0.31, 1.13, 2.9, -0.31, -1.13, -2.9])
def test_log_ramp_gives_an_event_for_each_threshold_at_the_exact_time(change: float):
    model = replace(IDEAL, on_threshold=0.2, off_threshold=0.3)
    threshold = 0.2 if change > 0 else 0.3
    events = watch(model, ramp(change), [1000, 101_000])
    count = int(abs(change) / threshold)
    assert len(events) == count and set(events.p) <= {int(change > 0)}
    exact = 1000 + 100_000 * threshold / abs(change) * np.arange(1, count + 1)
    np.testing.assert_array_equal(events.t, np.floor(exact))


def test_frames_between_the_ends_of_a_ramp_change_nothing():
    few = watch(IDEAL, ramp(1.5), [0, 90_000])
    many = watch(IDEAL, np.linspace(0, 1.5, 10)[:, None, None], list(range(0, 90_001, 10_000)))
    assert len(few) == 7
    np.testing.assert_allclose(few.t, many.t, atol=1)


def test_refractory_period_caps_the_rate():
    model = replace(IDEAL, refractory_us=1000.0)
    # A threshold takes 100 µs here, so that a pixel speaks every 1100 µs, however often a frame comes.
    events = watch(model, ramp(40.0, (1, 2)), [0, 20_000])
    for x in (0, 1):
        times = events.t[events.x == x]
        np.testing.assert_allclose(times, 100 + 1100 * np.arange(len(times)), atol=1)
        assert len(times) == 19


def test_events_equal_a_walk_through_time():
    rng = np.random.default_rng(5)
    times = np.concatenate([[500], 500 + np.cumsum(rng.integers(300, 900, 12))])
    levels = rng.normal(0, 0.6, (13, 4, 5)).cumsum(axis=0) * 0.5
    film = np.exp(levels).astype(np.float32)
    for refractory in (0, 150):
        model = replace(IDEAL, mismatch=0.04, refractory_us=float(refractory))
        sensor = Sensor(model, 4, 5, 3)
        events = sensor.expose(film, times)
        compared = 0
        for k in range(20):
            y, x = divmod(k, 5)
            off, on = sensor.thresholds[:, k]
            expected = np.array(pixel_events(film[:, y, x], times, on, off, refractory)).reshape(-1, 2)
            mine = events[(events.x == x) & (events.y == y)]
            np.testing.assert_array_equal(mine.p, expected[:, 1])
            np.testing.assert_allclose(mine.t + 0.5, expected[:, 0], atol=0.501)
            compared += len(expected)
        assert compared > 100


def test_still_scene_without_noise_is_silent():
    assert len(watch(IDEAL, np.full((3, 5, 5), 0.7), [0, 10, 1_000_000])) == 0


def test_noise_is_poisson_with_the_rates_of_the_model():
    model = replace(IDEAL, refractory_us=100.0, shot_hz=3.0, leak_hz=1.0)
    seconds, shape = 5, (64, 64)
    events = watch(model, np.zeros((2, *shape)), [0, seconds * 1_000_000], seed=1)
    expected = 4.0 * seconds * 64 * 64
    assert abs(len(events) - expected) < 5 * np.sqrt(expected)
    # Leak is ON, shot noise is either: (1 + 3 / 2) / 4.
    assert abs(events.p.mean() - 0.625) < 5 * np.sqrt(0.625 * 0.375 / expected)
    counts = np.bincount(events.y.astype(int) * 64 + events.x, minlength=64 * 64)
    # A Poisson count's variance is its mean; the estimate's relative deviation is sqrt(2 / n).
    assert abs(counts.var() / counts.mean() - 1) < 5 * np.sqrt(2 / counts.size)
    # No half of the time is louder than the other.
    assert abs(np.mean(events.t < seconds * 500_000) - 0.5) < 5 * 0.5 / np.sqrt(expected)


def test_noise_makes_a_pixel_forget():
    # Without noise a rise of 0.9 thresholds and one more of 0.9 make an event; after noise the second comes too late.
    quiet = watch(IDEAL, np.array([0, 0.18, 0.18, 0.36])[:, None, None], [0, 10, 1_000_000, 1_000_010])
    loud = watch(
        replace(IDEAL, shot_hz=100.0),
        np.array([0, 0.18, 0.18, 0.36])[:, None, None] * np.ones((1, 8, 8)),
        [0, 10, 1_000_000, 1_000_010],
    )
    assert len(quiet) == 1
    assert np.count_nonzero(loud.t >= 1_000_000) < 3


def test_thresholds_differ_between_pixels_as_the_mismatch_says():
    model = PixelModel(on_threshold=0.25, off_threshold=0.35, mismatch=0.03, shot_hz=0.3)
    off, on = Sensor(model, 128, 128, 7).thresholds
    for thresholds, mean in ((on, 0.25), (off, 0.35)):
        assert abs(thresholds.mean() - mean) < 5 * 0.03 / 128
        assert abs(thresholds.std() / 0.03 - 1) < 5 / np.sqrt(2 * 128 * 128)
    assert abs(np.corrcoef(on, off)[0, 1]) < 5 / 128


def test_unequal_pixels_speak_at_unequal_times():
    events = watch(replace(IDEAL, mismatch=0.03), ramp(0.45, (16, 16)), [0, 100_000])
    assert len(np.unique(events.t)) > 300
    assert np.all(np.diff(events.t) >= 0)


def film_with_noise() -> tuple[PixelModel, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    # Frames come back, and some stay for a while.
    levels = rng.normal(0, 0.6, (3, 6, 7))[[0, 0, 1, 1, 0, 2, 1, 1, 2, 2, 0, 1] * 2]
    return PixelModel(shot_hz=30.0, leak_hz=10.0), np.exp(levels).astype(np.float32), np.arange(1, 25) * 7001


def columns(events: Events) -> np.ndarray:
    return np.stack([events.t, events.x, events.y, events.p])


@pytest.mark.parametrize("cuts", [[1], [2, 3, 11], [5, 5, 20]])
def test_where_a_film_is_cut_changes_nothing(cuts: list[int]):
    model, film, times = film_with_noise()
    whole = Sensor(model, 6, 7, 4).expose(film, times)
    sensor = Sensor(model, 6, 7, 4)
    parts = [sensor.expose(f, t) for f, t in zip(np.split(film, cuts), np.split(times, cuts), strict=True)]
    np.testing.assert_array_equal(columns(Events.concatenate(parts, 6, 7)), columns(whole))
    assert len(whole) > 200 and whole.t.max() < times[-1]


def test_equal_seeds_give_equal_events_and_others_do_not():
    model, film, times = film_with_noise()
    first, again, other = (columns(Sensor(model, 6, 7, seed).expose(film, times)) for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_films_that_cannot_be_are_refused():
    sensor = Sensor(IDEAL, 2, 2, 0)
    with pytest.raises(ValueError, match=r"luminance above 0, shape \(1, 2, 2\)"):
        sensor.expose(np.zeros((1, 2, 2), np.float32), np.array([0]))
    with pytest.raises(ValueError, match=r"luminance above 0, shape \(1, 2, 2\)"):
        sensor.expose(np.ones((1, 3, 2), np.float32), np.array([0]))
    sensor.expose(np.ones((1, 2, 2), np.float32), np.array([5]))
    with pytest.raises(ValueError, match="increasing times of frames"):
        sensor.expose(np.ones((1, 2, 2), np.float32), np.array([5]))
