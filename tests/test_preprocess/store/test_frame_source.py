"""Samples of different lengths are padded and proven, and frames straight from events equal those of the cache."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_layout import random_events, tiny_layout

from preprocess import EventFrames, open_events, open_frames
from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_events, measure_sample
from preprocess.building.build_event_store import build_event_store, ensure_every_frames, ensure_frames
from preprocess.errors import CacheError, ConfigError
from preprocess.events import Events
from preprocess.inspection.verify import verify_cache
from preprocess.store.sample_table import SampleTable

VARYING = [
    Binning(split_by="duration", duration_us=11_000),
    Binning(split_by="time_window", duration_us=30_000, overlap=10_000, downsample=3),
    Binning(split_by="event_count", event_count=70, include_incomplete=True),
]
BINNINGS = [
    *VARYING,
    Binning(5, "time"),
    Binning(4, "n_event_bins"),
    Binning(6, "n_time_bins"),
    Binning(3, "fixed_window", duration_us=9_000, start_us=5_000),
]


@pytest.fixture(scope="module")
def samples() -> list[Events]:
    """Of 20 to 100 ms and of 50 to 600 events."""
    return [random_events(i, 50 + 97 * i, span_us=20_000 * (1 + i % 5)) for i in range(7)]


@pytest.fixture
def cache(samples: list[Events], tmp_path: Path) -> Path:
    build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path / "cache")
    return tmp_path / "cache"


def test_samples_of_different_lengths_are_padded_to_the_longest(cache: Path, samples: list[Events]):
    for path, binning in zip(ensure_every_frames(cache, "tiny", BINNINGS), BINNINGS, strict=True):
        frames = open_frames(path)
        assert frames.binning == binning.plain()
        expected = [bin_events(sample, binning) for sample in samples]
        assert frames.lengths.tolist() == [len(sample) for sample in expected]
        assert frames.timesteps == max(frames.lengths)
        assert (frames.lengths.min() < frames.timesteps) == (binning in VARYING)
        for i, sample in enumerate(expected):
            found = frames.read(i)
            np.testing.assert_array_equal(found[: len(sample)], sample)
            assert not found[len(sample) :].any()
            assert frames.dropped[i] == measure_sample(len(samples[i]), samples[i].t, binning)[1]
        with h5py.File(path) as file:
            assert ("length" in file) == binning.varies
            assert ("dropped" in file["samples"]) == binning.drops
            assert file.attrs["split_by"] == binning.split_by


def test_a_duration_makes_one_cache_whatever_timesteps_says(cache: Path):
    path = ensure_frames(cache, "tiny", Binning(4, "duration", duration_us=11_000))
    made = path.stat().st_mtime_ns
    again = ensure_frames(cache, "tiny", Binning(9, "duration", duration_us=11_000, start_us=3))
    assert again == path and path.stat().st_mtime_ns == made


def test_every_rule_is_proven_by_verify(cache: Path):
    ensure_every_frames(cache, "tiny", BINNINGS)
    results = verify_cache(cache)
    assert len(results) == 2 + len(BINNINGS)
    assert not [message for result in results for message in result.errors]


def test_verify_finds_lengths_that_are_not_the_events(cache: Path, monkeypatch: pytest.MonkeyPatch):
    from preprocess.store import frame_lengths

    monkeypatch.setattr(frame_lengths, "measure_sample", lambda *_: (12, 0, 0))
    path = ensure_frames(cache, "tiny", VARYING[0])
    monkeypatch.undo()
    errors = [message for result in verify_cache(cache) for message in result.errors]
    assert any("(" in message and "differs from its events binned again" in message for message in errors)
    assert all(str(path) in message for message in errors)


def test_verify_finds_events_in_the_padding(cache: Path):
    path = ensure_frames(cache, "tiny", VARYING[0])
    shortest = int(np.argmin(open_frames(path).lengths))
    with h5py.File(path, "r+") as file:
        file["frames"][shortest, -1, 0, 0, 0] = 1
    (message,) = [message for result in verify_cache(cache) for message in result.errors]
    assert f"sample {shortest} ('sämple{shortest}') differs from its events binned again" in message


@pytest.mark.parametrize(("binning", "name"), [(VARYING[0], "length"), (BINNINGS[4], "samples/dropped")])
def test_a_length_or_dropped_count_that_was_tampered_with_is_refused(cache: Path, binning: Binning, name: str):
    path = ensure_frames(cache, "tiny", binning)
    with h5py.File(path, "r+") as file:
        file[name][2] += 1
    with pytest.raises(CacheError, match=r"/length, /samples/dropped or /samples/repeated does not match its seal"):
        open_frames(path)


def test_more_frames_than_anyone_can_want_are_refused_and_leave_nothing(cache: Path):
    binning = Binning(split_by="duration", duration_us=1)
    with pytest.raises(ConfigError, match="expected at most 65,536 frames per sample, found"):
        ensure_frames(cache, "tiny", binning)
    assert not list((cache / "tiny").glob("frames/*"))


@pytest.mark.parametrize("binning", BINNINGS, ids=lambda binning: binning.split_by)
def test_frames_straight_from_events_equal_the_caches(cache: Path, binning: Binning):
    source = EventFrames(open_events(cache / "tiny" / "events.h5"), binning)
    assert not (cache / "tiny" / "frames").exists()
    frames = open_frames(ensure_frames(cache, "tiny", binning))
    assert (source.timesteps, source.sample_shape) == (frames.timesteps, frames.sample_shape)
    assert source.binning == frames.binning and source.fingerprint == frames.fingerprint
    np.testing.assert_array_equal(source.lengths, frames.lengths)
    out = np.full((3, *source.sample_shape), 77, source.dtype)
    assert source.read_batch([6, 0, 6], out) is out
    np.testing.assert_array_equal(out, frames.read_batch([6, 0, 6]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(2), frames.read(2))


def test_events_of_one_pixel_never_wrap(tmp_path: Path):
    zeros = np.zeros(70_000, np.uint16)
    events = Events(np.arange(70_000), zeros, zeros, zeros.astype(np.uint8), 4, 4)
    build_event_store(tiny_layout(tmp_path / "src", [events], classes=1), tmp_path / "cache")
    source = EventFrames(open_events(tmp_path / "cache" / "tiny" / "events.h5"), Binning(1))
    assert source.read(0).max() == 70_000 and source.dtype == np.uint32


def test_changed_events_are_binned_instead(cache: Path, samples: list[Events]):
    source = EventFrames(open_events(cache / "tiny" / "events.h5"), Binning(4, "time"))
    changed = source.changed(lambda i, events: events[: 3 * i])
    np.testing.assert_array_equal(changed.read(5), bin_events(samples[5][:15], Binning(4, "time")))
    assert not changed.read(0).any()
    np.testing.assert_array_equal(source.read(5), bin_events(samples[5], Binning(4, "time")))
    with pytest.raises(ValueError, match="expected a rule with fixed T for changed events, found duration"):
        EventFrames(source.store, VARYING[0]).changed(lambda i, events: events)


def test_kept_events_are_read_once_as_long_as_there_is_room(cache: Path, samples: list[Events]):
    source = EventFrames(open_events(cache / "tiny" / "events.h5"), Binning(4, "time"))
    reads: list[int] = []
    store_read = source.store.read
    source.store.read = lambda i: reads.append(i) or store_read(i)  # type: ignore[method-assign, func-returns-value]
    # There is room for the first two samples, of 50 and 147 events.
    kept = source.keeping_events(300)
    for every in (2, 3):
        changed = kept.changed(lambda i, events, every=every: events[::every])
        for i in range(4):
            np.testing.assert_array_equal(changed.read(i), bin_events(samples[i][::every], Binning(4, "time")))
    assert sorted(reads) == [0, 1, 2, 2, 3, 3]


def test_a_damaged_event_is_told_with_its_sample(cache: Path):
    source = EventFrames(open_events(cache / "tiny" / "events.h5"), Binning(4))
    table: SampleTable = source.samples
    with h5py.File(source.path, "r+") as file:
        offset = file["events/address"].id.get_chunk_info(0).byte_offset
    with source.path.open("r+b") as file:
        file.seek(offset + 40)
        file.write(b"\xff\x00\xff")
    with pytest.raises(CacheError, match=rf"sample 3 \('{table.name[3]}'\) is damaged"):
        source.read(3)


def test_the_reading_api_loads_neither_torch_nor_ray():
    code = "import preprocess, sys; assert 'h5py' not in sys.modules; preprocess.open_frames; preprocess.EventFrames"
    check = "assert 'h5py' in sys.modules and not {'torch', 'ray', 'tonic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True)
