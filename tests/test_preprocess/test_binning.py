"""Frames equal SpikingJelly's wherever it returns a result, and the plain NumPy twin's everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from reference import binning as reference

from preprocess.binning import Binning, bin_addresses, bin_events, bin_ranges
from preprocess.errors import ConfigError, RecordingError
from preprocess.events import Events

SPLITS = ("number", "time")


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


@hypothesis.given(events(), st.integers(1, 12), st.sampled_from(SPLITS), st.integers(1, 4))
def test_frames_equal_the_plain_twin(sample: Events, timesteps: int, split_by: str, downsample: int):
    binning = Binning(timesteps, split_by, downsample)
    l, r = bin_ranges(sample.t, binning)
    assert list(zip(l.tolist(), r.tolist(), strict=True)) == reference.bin_ranges(sample.t, timesteps, split_by)
    expected = reference.bin_events(sample, timesteps, split_by, downsample)
    frames = bin_events(sample, binning)
    assert frames.shape == (timesteps, 2, *binning.size(sample.height, sample.width))
    np.testing.assert_array_equal(frames, expected)


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


def test_an_address_outside_of_the_sensor_is_refused():
    with pytest.raises(RecordingError, match="expected addresses below 8, found 8"):
        bin_addresses(np.array([1, 8], np.uint8), None, Binning(1), 2, 2)


def test_every_fault_of_a_binning_is_told():
    with pytest.raises(ConfigError) as error:
        Binning(0, "number", 0).check()
    assert error.value.faults == (
        "binning.timesteps: expected at least 1, found 0",
        "binning.downsample: expected at least 1, found 0",
    )


def test_key_is_readable():
    assert Binning(20).key(128, 128) == "number-T20-128x128"
    assert Binning(4, "time", 3).key(128, 34) == "time-T4-43x12"


def real_samples(folder: Path) -> Iterator[tuple[str, Events]]:
    """Every real recording that SpikingJelly can decode, and the DVS128 ones by their plain words."""
    from spikingjelly.datasets.utils import load_aedat_v3, load_ATIS_bin

    def of(columns: dict[str, np.ndarray], height: int, width: int) -> Events:
        t, x, y, p = (columns[name] for name in "txyp")
        return Events(
            t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), height, width
        )

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
