"""Statistics of a stream equal those of all of its events at once, whatever the chunks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from preprocess.events import Events
from preprocess.inspection.event_statistics import survey_events


def stream(duration_us: int, n: int, *, start: int = 12_345) -> Events:
    """Events in [start, start + duration), with both ends, in an order that runs backwards at times."""
    rng = np.random.default_rng(duration_us)
    t = start + np.concatenate([[0, duration_us - 1], rng.integers(0, duration_us, n)])
    x, y, p = (rng.integers(0, end, n + 2) for end in (16, 8, 2))
    return Events(t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), 8, 16)


def in_chunks(events: Events, size: int) -> Callable[[], list[Events]]:
    return lambda: [
        Events(events.t[k : k + size], events.x[k : k + size], events.y[k : k + size], events.p[k : k + size], 8, 16)
        for k in range(0, len(events), size)
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_counts_are_those_of_all_events_at_once(size: int):
    events = stream(1_000_000, 500)
    survey = survey_events(in_chunks(events, size))
    assert (survey.events, survey.on) == (502, int(events.p.sum()))
    assert (survey.start_us, survey.end_us) == (12_345, 1_012_345)
    assert survey.backwards == int((np.diff(events.t) < 0).sum())
    edges = survey.start_us + survey.window_us * np.arange(survey.counts.shape[1] + 1)
    for polarity in (0, 1):
        np.testing.assert_array_equal(survey.counts[polarity], np.histogram(events.t[events.p == polarity], edges)[0])
    assert survey.mean_rate == pytest.approx(502)


@pytest.mark.parametrize(
    ("duration_us", "windows", "window_us"),
    [
        (1, 1, 1),
        (5, 5, 1),
        (8_800, 20, 440),
        (199_000, 20, 9950),
        (1_000_000, 100, 10_000),
        (1_004_000, 100, 10_040),
        (21, 11, 2),
        (62, 16, 4),
    ],
)
def test_windows_are_ten_milliseconds_long_or_a_twentieth_of_a_short_stream(
    duration_us: int, windows: int, window_us: int
):
    survey = survey_events(in_chunks(stream(duration_us, 100), 1000))
    assert survey.counts.shape == (2, windows) and survey.window_us == window_us
    assert survey.counts.sum() == survey.events
    start, end = survey.busiest(2 * duration_us)
    assert (start, end) == (survey.start_us, survey.end_us)


def test_a_stream_without_events_has_no_rate():
    survey = survey_events(list)
    assert (survey.events, survey.duration_us, survey.mean_rate, survey.peak_rate, survey.on_share) == (0, 0, 0, 0, 0)
