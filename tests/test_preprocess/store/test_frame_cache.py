"""Frame caches hold exactly what binning the events gives, in the smallest type, and follow their event store."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pytest
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_events
from preprocess.building import build_frame_cache
from preprocess.building.build_event_store import build_event_store, ensure_every_frames, ensure_frames
from preprocess.errors import CacheError, ConfigError
from preprocess.events import Events
from preprocess.store import frame_cache
from preprocess.store.cache_file_names import frame_cache_name
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.terminal.progress import Progress

BINNINGS = [Binning(4), Binning(5, "time"), Binning(3, "number", 3)]


class Notes(Progress):
    """Remembers what was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def samples() -> list[Events]:
    return [random_events(i, 50 + 97 * i, ordered=i % 2 == 0) for i in range(7)]


@pytest.fixture(scope="module")
def cache(samples: list[Events], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    build_event_store(tiny_layout(folder / "src", samples), folder / "cache")
    ensure_every_frames(folder / "cache", "tiny", BINNINGS)
    return folder / "cache"


@pytest.mark.parametrize("binning", BINNINGS, ids=str)
def test_frames_are_the_binned_events(cache: Path, samples: list[Events], binning: Binning):
    path = ensure_frames(cache, "tiny", binning)
    assert path == cache / "tiny" / "frames" / f"{frame_cache_name(binning, 8, 10)}.h5"
    frames = open_frames(path)
    assert (frames.binning, frames.timesteps, frames.dataset) == (binning, binning.timesteps, "tiny")
    assert (frames.height, frames.width) == binning.size(8, 10)
    for i, sample in enumerate(samples):
        expected = bin_events(sample, binning)
        assert frames.dtype == expected.dtype
        np.testing.assert_array_equal(frames.read(i), expected)
    with h5py.File(path) as file:
        assert file["frames"].chunks == (1, *frames.sample_shape)
        assert file.attrs["fingerprint"] == open_events(cache / "tiny" / "events.h5").fingerprint
        np.testing.assert_array_equal(file["frames"][3], bin_events(samples[3], binning))


def test_table_is_the_event_stores(cache: Path):
    table = open_events(cache / "tiny" / "events.h5").samples
    assert open_frames(ensure_frames(cache, "tiny", BINNINGS[0])).samples.sha256() == table.sha256()


def test_batches_go_into_a_given_buffer(cache: Path, samples: list[Events]):
    frames = open_frames(ensure_frames(cache, "tiny", BINNINGS[1]))
    out = np.full((3, *frames.sample_shape), 77, frames.dtype)
    assert frames.read_batch([5, 0, 5], out) is out
    expected = [bin_events(samples[i], BINNINGS[1]) for i in (5, 0, 5)]
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(frames.read_batch(np.array([5, 0, 5])), expected)


def test_a_wrong_buffer_is_refused(cache: Path):
    frames = open_frames(ensure_frames(cache, "tiny", BINNINGS[0]))
    for buffer in (
        np.empty((4, 2, 8, 10), np.uint16),
        np.empty((4, 2, 8, 9), np.uint8),
        np.empty((4, 2, 10, 8), np.uint8).swapaxes(2, 3),
    ):
        with pytest.raises(ValueError, match="expected a contiguous uint8 buffer of shape"):
            frames.read(0, buffer)
    with pytest.raises(IndexError, match="expected a sample number below 7, found 7"):
        frames.read(7)


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_no_count_wraps(tmp_path: Path, largest: int, dtype: type):
    few = random_events(0, 100)
    one = np.zeros(largest, np.uint16)
    many = Events(np.arange(largest), one, one, one.astype(np.uint8), 8, 10)
    build_event_store(tiny_layout(tmp_path / "src", [few, many, few]), tmp_path)
    # Another binning in the same pass needs no wider type; it is written once.
    wide, narrow = ensure_every_frames(tmp_path, "tiny", [Binning(1), Binning(largest // 100)])
    frames = open_frames(wide)
    assert frames.dtype == dtype
    assert frames.read(1).max() == largest
    np.testing.assert_array_equal(frames.read(2), bin_events(few, Binning(1)))
    assert open_frames(narrow).dtype == np.uint8
    assert sorted(p.name for p in wide.parent.iterdir()) == [wide.name, narrow.name]


def test_large_samples_are_cut_along_time(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(frame_cache, "LARGEST_CHUNK_BYTES", 3 * 2 * 8 * 10)
    samples = [random_events(i) for i in range(2)]
    build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path)
    path = ensure_frames(tmp_path, "tiny", Binning(8))
    with h5py.File(path) as file:
        assert file["frames"].chunks == (1, 3, 2, 8, 10)
        np.testing.assert_array_equal(file["frames"][1], bin_events(samples[1], Binning(8)))
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(open_frames(path).read(i), bin_events(sample, Binning(8)))


def test_a_second_call_builds_nothing(cache: Path, monkeypatch):
    monkeypatch.setattr(build_frame_cache, "_build_pass", lambda *_: pytest.fail("built again"))
    ensure_every_frames(cache, "tiny", BINNINGS)


def test_several_binnings_take_one_pass_over_the_events(tmp_path: Path, monkeypatch):
    build_event_store(tiny_layout(tmp_path / "src", [random_events(i) for i in range(5)]), tmp_path)
    reads: list[int] = []
    read = build_frame_cache.EventStore.addresses_of
    monkeypatch.setattr(
        build_frame_cache.EventStore, "addresses_of", lambda self, some: (reads.extend(some), read(self, some))[1]
    )
    ensure_every_frames(tmp_path, "tiny", BINNINGS)
    assert reads == [0, 1, 2, 3, 4]


def test_frames_of_another_event_store_are_made_again(tmp_path: Path):
    build_event_store(tiny_layout(tmp_path / "src", [random_events(1)]), tmp_path)
    path = ensure_frames(tmp_path, "tiny", Binning(4))
    changed = random_events(2)
    notes = Notes()
    build_event_store(tiny_layout(tmp_path / "src", [changed]), tmp_path, progress=notes)
    ensure_frames(tmp_path, "tiny", Binning(4), progress=notes)
    assert len(notes.lines) == 2
    assert "the content of r000.npy changed; rebuilding it" in notes.lines[0]
    assert "built from another event store (fingerprint " in notes.lines[1]
    np.testing.assert_array_equal(open_frames(path).read(0), bin_events(changed, Binning(4)))


def test_a_file_with_another_binning_under_the_name_is_made_again(tmp_path: Path):
    build_event_store(tiny_layout(tmp_path / "src", [random_events(1)]), tmp_path)
    path = ensure_frames(tmp_path, "tiny", Binning(4))
    shutil.copy(path, path.parent / "number-T5-8x10.h5")
    notes = Notes()
    frames = open_frames(ensure_frames(tmp_path, "tiny", Binning(5), progress=notes))
    assert frames.timesteps == 5
    assert "number-T5-8x10.h5: expected Binning(timesteps=5" in notes.lines[0]


def test_without_an_event_store_the_command_is_named(tmp_path: Path):
    with pytest.raises(CacheError, match=r"expected an event store, found no such file. Make it: spikeloom preprocess"):
        ensure_frames(tmp_path, "n-mnist", Binning(4))
    assert not (tmp_path / "n-mnist").exists()


def test_a_faulty_binning_is_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="expected at least 1, found 0"):
        ensure_frames(tmp_path, "n-mnist", Binning(0))


def test_a_flipped_byte_names_the_sample(cache: Path, tmp_path: Path, samples: list[Events]):
    path = ensure_frames(cache, "tiny", BINNINGS[0])
    with h5py.File(path) as file:
        place = file["frames"].id.get_chunk_info_by_coord((2, 0, 0, 0, 0))
    data = bytearray(path.read_bytes())
    data[place.byte_offset + place.size // 2] ^= 1
    copy = tmp_path / "number-T4-8x10.h5"
    copy.write_bytes(data)
    frames = open_frames(copy)
    np.testing.assert_array_equal(frames.read(1), bin_events(samples[1], BINNINGS[0]))
    with pytest.raises(
        CacheError,
        match=r"T4-8x10.h5: sample 2 \('sämple2'\) is damaged .* Delete the file; spikeloom preprocess, train",
    ):
        frames.read_batch([1, 2])


def read_all(frames: FrameCache) -> list[int]:
    return [int((frames.read(i) * np.arange(1.0, 11.0)).sum()) for i in range(len(frames))]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_frames_travel_to_other_processes(cache: Path, method: str):
    frames = open_frames(ensure_frames(cache, "tiny", BINNINGS[0]))
    expected = read_all(frames)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(read_all, [frames] * 4) == [expected] * 4
    assert len(pickle.dumps(frames)) < 500


def test_threads_share_frames(cache: Path):
    path = ensure_frames(cache, "tiny", BINNINGS[0])
    expected = read_all(open_frames(path))
    frames = open_frames(path)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: read_all(frames), range(12))) == [expected] * 12
