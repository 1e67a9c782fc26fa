"""Frames equal SpikingJelly's and tonic's wherever these return a result, and the plain NumPy twin's everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from messages import refuses
from reference import binning as reference

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_addresses, bin_addresses_into, bin_events, bin_ranges, measure_sample
from preprocess.errors import ConfigError, RecordingError
from preprocess.events import Events
from preprocess.store.cache_file_names import frame_cache_name

SPLITS = ("number", "time")
TONIC = ("time_window", "event_count", "n_time_bins", "n_event_bins", "fixed_window")


def spikingjelly_frames(events: Events, timesteps: int, split_by: str) -> np.ndarray | None:
    """SpikingJelly's frames, or None where it raises."""
    from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number

    columns = {name: getattr(events, name).astype(np.int64) for name in "txyp"}
    try:
        return integrate_events_by_fixed_frames_number(columns, split_by, timesteps, events.height, events.width)
    except IndexError:
        return None


@st.composite
def events(draw: st.DrawFn, *, ordered: bool | None = None) -> Events:
    """1 to 60 events on a small sensor; times from a narrow or a wide span, equal ones included."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    count = draw(st.integers(1, 60))
    span = draw(st.sampled_from([0, 3, 50, 10_000, 4_000_000_000]))
    start = draw(st.sampled_from([0, 5, 1_700_000_000_000_000]))
    t = np.array(draw(st.lists(st.integers(0, span), min_size=count, max_size=count)), np.int64) + start
    if draw(st.booleans()) if ordered is None else ordered:
        t.sort()
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, y, p = rng.integers(0, width, count), rng.integers(0, height, count), rng.integers(0, 2, count)
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), height, width)


@st.composite
def binnings(draw: st.DrawFn, rules: tuple[str, ...], span_us: int) -> Binning:
    """Any binning by one of the rules; frames of a sample of the given span stay few."""
    fields: dict[str, object] = {"split_by": draw(st.sampled_from(rules)), "downsample": draw(st.integers(1, 4))}
    fields["timesteps"] = draw(st.integers(1, 12))
    # No more than about a hundred frames, and often one that ends where the last event lies.
    fields["duration_us"] = max(1, draw(st.sampled_from([span_us // 3, span_us, 2 * span_us, span_us // 97 + 1, 7])))
    fields["duration_us"] = max(fields["duration_us"], span_us // 100)
    fields["event_count"] = draw(st.integers(1, 70))
    least = fields["event_count"] if fields["split_by"] == "event_count" else fields["duration_us"]
    fields["overlap"] = draw(st.sampled_from([0, least // 3, least // 2]))
    fields["include_incomplete"] = draw(st.booleans())
    fields["start_us"] = draw(st.sampled_from([0, 1, span_us // 2, 3 * span_us]))
    return Binning(**fields)  # type: ignore[arg-type]


def span_of(sample: Events) -> int:
    return int(sample.t.max() - sample.t.min())


def tonic_frames(events: Events, binning: Binning) -> tuple[np.ndarray, int]:
    """tonic's frames, and how many events are in none of its slices."""
    from tonic import slicers
    from tonic.transforms import ToFrame

    columns = np.zeros(len(events), np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]))
    for name in "txyp":
        columns[name] = getattr(events, name)
    shared = {"overlap": binning.overlap, "include_incomplete": binning.include_incomplete}
    first = int(events.t[0]) + binning.start_us
    ends = {"start_time": first, "end_time": first + binning.timesteps * (binning.duration_us or 0)}
    words, slicer = {
        "time_window": ({"time_window": binning.duration_us, **shared}, slicers.SliceByTime),
        "event_count": ({"event_count": binning.event_count, **shared}, slicers.SliceByEventCount),
        "n_time_bins": ({"n_time_bins": binning.timesteps}, slicers.SliceByTimeBins),
        "n_event_bins": ({"n_event_bins": binning.timesteps}, slicers.SliceByEventBins),
        "fixed_window": ({"time_window": binning.duration_us, **ends}, slicers.SliceByTime),
    }[binning.split_by]
    renamed = {
        name.replace("n_time_bins", "bin_count").replace("n_event_bins", "bin_count"): v for name, v in words.items()
    }
    numbers = columns.copy()
    numbers["p"] = np.arange(len(events))
    held = [part["p"] for part in slicer(**renamed).slice(numbers, None)[0]]
    dropped = len(events) - len(np.unique(np.concatenate(held)))
    return ToFrame((events.width, events.height, 2), **words)(columns), dropped


@hypothesis.given(st.data(), events(ordered=True))
def test_frames_equal_the_plain_twin(data: st.DataObject, sample: Events):
    binning = data.draw(binnings((*SPLITS, "duration", *TONIC), span_of(sample)))
    l, r = bin_ranges(sample.t, binning)
    assert list(zip(l.tolist(), r.tolist(), strict=True)) == reference.bin_ranges(sample.t, binning)
    frames = bin_events(sample, binning)
    assert frames.shape == (len(l), 2, *binning.size(sample.height, sample.width))
    assert binning.varies or len(l) == binning.timesteps
    np.testing.assert_array_equal(frames, reference.bin_events(sample, binning))


@hypothesis.given(st.data(), events(ordered=False))
def test_frames_of_unsorted_times_equal_the_plain_twin(data: st.DataObject, sample: Events):
    # tonic's rules search times that are not sorted, which no plain words describe: they are compared with tonic.
    binning = data.draw(binnings((*SPLITS, "duration", "event_count", "n_event_bins"), span_of(sample)))
    l, r = bin_ranges(sample.t, binning)
    assert list(zip(l.tolist(), r.tolist(), strict=True)) == reference.bin_ranges(sample.t, binning)
    np.testing.assert_array_equal(bin_events(sample, binning), reference.bin_events(sample, binning))


@hypothesis.given(st.data(), events())
def test_frames_of_a_fixed_duration_equal_spikingjelly_wherever_it_returns_a_result(
    data: st.DataObject, sample: Events
):
    from spikingjelly.datasets.utils import integrate_events_by_fixed_duration

    binning = replace(data.draw(binnings(("duration",), span_of(sample))), downsample=1)
    columns = {name: getattr(sample, name).astype(np.int64) for name in "txyp"}
    try:
        expected = integrate_events_by_fixed_duration(columns, binning.duration_us, sample.height, sample.width)
    except IndexError:
        assert sample.t[-1] == sample.t.min()
        assert bin_events(sample, binning).sum() == len(sample)
    else:
        np.testing.assert_array_equal(bin_events(sample, binning), expected)


@hypothesis.given(st.data(), events())
def test_frames_and_dropped_events_equal_tonic(data: st.DataObject, sample: Events):
    binning = replace(data.draw(binnings(TONIC, span_of(sample))), downsample=1)
    expected, dropped = tonic_frames(sample, binning)
    np.testing.assert_array_equal(bin_events(sample, binning), expected)
    t = sample.t if binning.needs_times else None
    assert measure_sample(len(sample), t, binning)[:2] == (len(expected), dropped)


@hypothesis.given(st.data(), events(ordered=True))
def test_every_event_lies_in_one_frame_or_is_counted_as_dropped(data: st.DataObject, sample: Events):
    binning = replace(data.draw(binnings(("duration", *TONIC), span_of(sample))), overlap=0)
    _, dropped, repeated = measure_sample(len(sample), sample.t, binning)
    assert repeated == 0
    assert bin_events(sample, binning).sum() + dropped == len(sample)
    assert dropped == 0 or binning.drops


def test_tonics_remainder_is_dropped_and_spikingjellys_kept():
    zeros = np.zeros(10, np.uint16)
    sample = Events(np.arange(10), zeros, zeros, zeros.astype(np.uint8), 1, 1)
    assert bin_events(sample, Binning(3, "n_event_bins")).sum((1, 2, 3)).tolist() == [3, 3, 3]
    assert bin_events(sample, Binning(3, "number")).sum((1, 2, 3)).tolist() == [3, 3, 4]
    assert measure_sample(10, None, Binning(3, "n_event_bins")) == (3, 1, 0)


EDGES = [
    (Binning(4), [[0, 2], [2, 4], [4, 6], [6, 9]]),
    (Binning(4, "time"), [[0, 2], [2, 4], [4, 6], [6, 9]]),
    (Binning(split_by="duration", duration_us=10), [[0, 2], [2, 4], [4, 6], [6, 9]]),
    (Binning(split_by="duration", duration_us=15), [[0, 3], [3, 6], [6, 9]]),
    (Binning(split_by="time_window", duration_us=20), [[0, 4], [4, 8]]),
    (Binning(split_by="time_window", duration_us=20, overlap=10), [[0, 4], [2, 6], [4, 8]]),
    (Binning(split_by="time_window", duration_us=21, overlap=1), [[0, 5]]),
    (Binning(split_by="time_window", duration_us=30, include_incomplete=True), [[0, 6], [6, 9]]),
    (Binning(split_by="event_count", event_count=4), [[0, 4], [4, 8]]),
    (Binning(split_by="event_count", event_count=4, overlap=1), [[0, 4], [3, 7]]),
    (Binning(split_by="event_count", event_count=4, include_incomplete=True), [[0, 4], [4, 8], [8, 9]]),
    (Binning(4, "n_time_bins"), [[0, 2], [2, 4], [4, 6], [6, 8]]),
    (Binning(4, "n_event_bins"), [[0, 2], [2, 4], [4, 6], [6, 8]]),
    (Binning(2, "fixed_window", duration_us=10, start_us=10), [[2, 4], [4, 6]]),
]


@pytest.mark.parametrize(("binning", "expected"), EDGES, ids=lambda value: str(value)[:60])
def test_events_at_the_edges_of_bins_are_where_each_rule_has_them(binning: Binning, expected: list[list[int]]):
    """Every edge of a bin is the time of an event. Random samples rarely have that, in few examples of each rule."""
    t = np.array([100, 105, 110, 115, 120, 125, 130, 135, 140])
    l, r = bin_ranges(t, binning)
    assert np.stack([l, r], 1).tolist() == expected
    assert expected == [list(pair) for pair in reference.bin_ranges(t, binning)]


def test_an_event_at_the_end_of_the_last_duration_belongs_to_it():
    l, r = bin_ranges(np.array([100, 105, 110, 120]), Binning(split_by="duration", duration_us=10))
    assert (l.tolist(), r.tolist()) == ([0, 2], [2, 4])


def test_a_time_stamp_gone_wild_does_not_fill_the_memory():
    with pytest.raises(
        ConfigError, match=r"expected at most 65,536 frames per sample, found 1,000,000,000\. Choose longer"
    ):
        bin_ranges(np.array([0, 10**15]), Binning(split_by="duration", duration_us=10**6))


@hypothesis.given(st.data(), events())
def test_given_frames_hold_the_same_counts_with_zeros_behind(data: st.DataObject, sample: Events):
    binning = data.draw(binnings((*SPLITS, "duration", *TONIC), span_of(sample)))
    expected = bin_events(sample, binning)
    frames = np.full((len(expected) + 2, *expected.shape[1:]), 9, np.uint16)
    length = bin_addresses_into(frames, sample.address(), sample.t, binning, sample.height, sample.width)
    assert length == len(expected) and not frames[length:].any()
    np.testing.assert_array_equal(frames[:length], expected)


def test_frames_too_few_or_too_small_are_refused():
    address = np.zeros(300, np.uint8)
    with pytest.raises(RecordingError, match="expected counts that fit into uint8, found larger ones"):
        bin_addresses_into(np.empty((1, 2, 2, 2), np.uint8), address, None, Binning(1), 2, 2)
    with pytest.raises(RecordingError, match="expected at most 3 frames, found 4"):
        bin_addresses_into(np.empty((3, 2, 2, 2), np.uint16), address, None, Binning(4), 2, 2)


@hypothesis.given(events(), st.integers(1, 12), st.sampled_from(SPLITS))
def test_frames_equal_spikingjelly_wherever_it_returns_a_result(sample: Events, timesteps: int, split_by: str):
    expected = spikingjelly_frames(sample, timesteps, split_by)
    if expected is None:
        assert split_by == "time"
    else:
        np.testing.assert_array_equal(bin_events(sample, Binning(timesteps, split_by)), expected)


@hypothesis.given(events(ordered=True), st.integers(1, 12), st.sampled_from(SPLITS))
def test_sorted_samples_keep_every_event(sample: Events, timesteps: int, split_by: str):
    assert bin_events(sample, Binning(timesteps, split_by)).sum() == len(sample)


@hypothesis.given(events(), st.integers(1, 12))
def test_number_keeps_every_event_of_unsorted_samples_too(sample: Events, timesteps: int):
    frames = bin_events(sample, Binning(timesteps))
    per_frame = frames.sum((1, 2, 3))
    assert per_frame.sum() == len(sample)
    assert np.all(per_frame[:-1] == len(sample) // timesteps)


@hypothesis.given(events(), st.integers(1, 8), st.sampled_from(SPLITS), st.integers(2, 5))
def test_downsampling_sums_blocks_of_pixels(sample: Events, timesteps: int, split_by: str, k: int):
    fine = bin_events(sample, Binning(timesteps, split_by)).astype(np.int64)
    padded = np.pad(fine, ((0, 0), (0, 0), (0, -sample.height % k), (0, -sample.width % k)))
    t, p, h, w = padded.shape
    blocks = padded.reshape(t, p, h // k, k, w // k, k).sum((3, 5))
    np.testing.assert_array_equal(bin_events(sample, Binning(timesteps, split_by, k)), blocks)


def test_unsorted_times_count_strays_twice_as_spikingjelly_does():
    t = np.array([0, 1, 50, 2, 60, 99])
    zeros = np.zeros(6, np.uint16)
    sample = Events(t, zeros, zeros, zeros.astype(np.uint8), 1, 1)
    assert bin_events(sample, Binning(2, "time")).sum() == 8
    np.testing.assert_array_equal(bin_events(sample, Binning(2, "time")), spikingjelly_frames(sample, 2, "time"))


def test_empty_ranges_start_where_the_one_before_ended():
    t = np.array([0, 1, 2, 90, 99])
    l, r = bin_ranges(t, Binning(5, "time"))
    assert l.tolist() == [0, 3, 3, 3, 3]
    assert r.tolist() == [3, 3, 3, 3, 5]


def test_last_frame_takes_everything_where_all_times_are_equal():
    l, r = bin_ranges(np.full(4, 7), Binning(3, "time"))
    assert (l.tolist(), r.tolist()) == ([0, 0, 0], [0, 0, 4])


def test_fewer_events_than_frames_all_go_to_the_last():
    l, r = bin_ranges(np.arange(3), Binning(5))
    assert (l.tolist(), r.tolist()) == ([0] * 5, [0, 0, 0, 0, 3])


@pytest.mark.parametrize(
    ("count", "dtype"), [(255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)]
)
def test_type_is_the_smallest_that_holds_the_largest_count(count: int, dtype: type):
    address = np.zeros(count + 1, np.uint8)
    address[-1] = 3
    frames = bin_addresses(address, None, Binning(1), 2, 2)
    assert frames.dtype == dtype
    assert frames.max() == count and frames.sum() == count + 1


def test_no_events_are_refused():
    with pytest.raises(RecordingError, match="expected at least one event, found none"):
        bin_events(Events.empty(4, 4), Binning(2))


def test_columns_of_events_are_integers_of_one_length_on_the_sensor():
    for changes, expected, found in (
        ({"x": [0, 1]}, "one length", "t (3,), x (2,)"),
        ({"x": [0, -5, 1]}, "x within 0 to 3", "-5 to 1"),
        ({"y": [0, 4, 1]}, "y within 0 to 3", "0 to 4"),
        ({"p": [-1, 1, 1]}, "p within 0 to 1", "-1 to 1"),
        ({"t": [0.0, 0.1, 0.2]}, "integers in t", "float64"),
    ):
        columns = {"t": [0, 1, 2], "x": [0, 1, 2], "y": [0, 1, 2], "p": [0, 1, 1]} | changes
        with refuses(RecordingError, where="events", expected=expected, found=found):
            bin_events(Events(**columns, height=4, width=4), Binning(2))
    assert bin_events(Events([0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 1], 4, 4), Binning(2)).sum() == 3


def test_a_binning_is_checked_before_events_are_counted():
    events = Events([0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 1], 4, 4)
    for binning, where in (
        (Binning(2, "nonsense"), "binning.split_by"),
        (Binning(0), "binning.timesteps"),
        (Binning(2, downsample=0), "binning.downsample"),
        (Binning(2, "duration"), "binning.duration_us"),
    ):
        with refuses(ConfigError, where=where):
            bin_events(events, binning)


def test_an_address_outside_of_the_sensor_is_refused():
    with pytest.raises(RecordingError, match="expected addresses below 8, found 8"):
        bin_addresses(np.array([1, 8], np.uint8), None, Binning(1), 2, 2)


def test_every_fault_of_a_binning_is_told():
    with pytest.raises(ConfigError) as error:
        Binning(0, "number", 0).check()
    assert error.value.errors == (
        "binning.timesteps: expected at least 1, found 0",
        "binning.downsample: expected at least 1, found 0",
    )


def test_fields_of_a_rule_are_asked_for_and_others_are_not():
    assert list(Binning(split_by="duration").errors()) == [
        "binning.duration_us: expected the duration of a frame in us for split_by duration, found none"
    ]
    assert list(Binning(split_by="event_count", event_count=5, overlap=5).errors()) == [
        "binning.overlap: expected 0 to less than a frame (5), found 5"
    ]
    assert list(Binning(split_by="number", duration_us=1000, event_count=7, start_us=3).errors()) == []
    assert Binning(7, "number", duration_us=1000, event_count=7, start_us=3).plain() == Binning(7)
    assert Binning(7, "duration", duration_us=9).plain() == Binning(8, "duration", duration_us=9, overlap=1).plain()


def test_key_is_readable():
    assert frame_cache_name(Binning(20), 128, 128) == "number-T20-128x128"
    assert frame_cache_name(Binning(4, "time", 3), 128, 34) == "time-T4-43x12"
    assert frame_cache_name(Binning(split_by="duration", duration_us=10_000), 128, 128) == "duration-10000us-128x128"
    window = Binning(split_by="time_window", duration_us=10_000, overlap=200, include_incomplete=True)
    assert frame_cache_name(window, 34, 34) == "time_window-10000us-overlap200-incomplete-34x34"
    assert frame_cache_name(Binning(split_by="event_count", event_count=700), 34, 34) == "event_count-700-34x34"
    fixed = Binning(8, "fixed_window", duration_us=500, start_us=70)
    assert frame_cache_name(fixed, 34, 34) == "fixed_window-T8-500us-from70us-34x34"


def real_samples(folder: Path) -> Iterator[tuple[str, Events]]:
    """Every real recording that SpikingJelly can decode, and the DVS128 ones by their plain words."""
    from spikingjelly.datasets.utils import load_aedat_v3, load_ATIS_bin

    def of(columns: dict[str, np.ndarray], height: int, width: int) -> Events:
        t, x, y, p = (columns[name] for name in "txyp")
        return Events(t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), height, width)

    for path in sorted((folder / "n-mnist").rglob("*.bin")):
        yield path.name, of(load_ATIS_bin(path), 34, 34)
    for path in sorted((folder / "dvs-gesture-clips").rglob("*.aedat")):
        yield path.name, of(load_aedat_v3(path), 128, 128)
    for path in [*sorted((folder / "dvs128-objects").rglob("*.aedat")), *(folder / "readers").glob("mnist-dvs*")]:
        yield path.name, of(dvs128_words(path), 128, 128)


def dvs128_words(path: Path) -> dict[str, np.ndarray]:
    """The events of a DVS128 AEDAT 2.0 recording after its header, special ones among them."""
    data = path.read_bytes()
    start = 0
    while data[start : start + 1] == b"#":
        start = data.index(b"\n", start) + 1
    words = np.frombuffer(data[start : start + (len(data) - start) // 8 * 8], ">u4").reshape(-1, 2).astype(np.int64)
    address, t = words[:, 0], words[:, 1]
    return {"t": t, "x": address >> 1 & 0x7F, "y": address >> 8 & 0x7F, "p": 1 - (address & 1)}


@pytest.mark.real
def test_frames_of_every_real_recording_equal_spikingjelly(real_data: Path):
    compared = {"number": 0, "time": 0}
    for name, sample in real_samples(real_data):
        for split_by in SPLITS:
            frames = bin_events(sample, Binning(7, split_by))
            expected = spikingjelly_frames(sample, 7, split_by)
            if expected is not None:
                assert np.array_equal(frames, expected), f"{name} by {split_by}"
                compared[split_by] += 1
    assert compared["number"] >= 1000
    assert compared["time"] >= 1000


@pytest.mark.real
def test_durations_and_tonics_rules_equal_their_originals_on_real_recordings(real_data: Path):
    from spikingjelly.datasets.utils import integrate_events_by_fixed_duration

    recordings = list(real_samples(real_data))
    for name, whole in [*recordings[:1000:100], *recordings[1000::3]]:
        sample = whole[:20_000]  # tonic takes a second for a whole one
        width = span_of(sample) // 9 + 1
        columns = {column: getattr(sample, column).astype(np.int64) for column in "txyp"}
        duration = Binning(split_by="duration", duration_us=width)
        expected = integrate_events_by_fixed_duration(columns, width, sample.height, sample.width)
        assert np.array_equal(bin_events(sample, duration), expected), f"{name} by duration"
        for split_by in TONIC:
            binning = Binning(7, split_by, duration_us=width, event_count=len(sample) // 6, start_us=width // 2)
            expected, dropped = tonic_frames(sample, binning)
            assert np.array_equal(bin_events(sample, binning), expected), f"{name} by {split_by}"
            measured = measure_sample(len(sample), sample.t, binning)[:2]
            assert measured == (len(expected), dropped), f"{name} by {split_by}"
