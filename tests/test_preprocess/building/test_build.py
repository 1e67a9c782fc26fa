"""Builds survive kills, wait for one another, take up where they stopped, and notice what changed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_builds import Notes, check, decoded, whole_files
from tiny_layout import TinyLayout, random_events, save_events, tiny_layout

from preprocess.building import part_plans, recordings_to_samples, segments
from preprocess.building.build_event_store import build_event_store
from preprocess.building.source_fingerprint import Source, find_change, hash_file, stat_source
from preprocess.errors import CacheError, CacheMismatchError, RecordingError
from preprocess.events import Events
from preprocess.interrupts import Terminated
from preprocess.store.event_store import open_events
from preprocess.terminal.progress import Progress


@pytest.fixture
def samples() -> list[Events]:
    return [random_events(i, 200 + 10 * i, ordered=i % 3 > 0) for i in range(12)]


@pytest.fixture(autouse=True)
def _one_recording_a_part(monkeypatch) -> None:
    monkeypatch.setattr(part_plans, "_PART_BYTES", 0)


def test_each_recording_is_decoded_once(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    path = build_event_store(layout, tmp_path / "cache")
    assert path == tmp_path / "cache" / "tiny" / "events.h5"
    check(path, samples)
    assert decoded(layout) == [f"r{i:03d}.npy" for i in range(12)]
    assert whole_files(path.parent) == {"events.h5"}
    assert not (path.parent / ".parts").exists()


def test_small_recordings_share_parts_and_large_ones_stand_alone(tmp_path: Path, monkeypatch):
    sizes = [100, 100, 100, 5000, 100, 100]
    layout = tiny_layout(tmp_path / "src", [random_events(i, n) for i, n in enumerate(sizes)])
    monkeypatch.setattr(part_plans, "_PART_BYTES", 7000)
    plans = part_plans.plan_parts(layout)
    names = [[recording.relative for recording in plan.recordings] for plan in plans]
    assert names == [["r000.npy", "r001.npy"], ["r002.npy"], ["r003.npy"], ["r004.npy", "r005.npy"]]
    assert len({plan.id for plan in plans}) == 4


@pytest.mark.parametrize("part_bytes", [0, 20_000, 1 << 20])
@pytest.mark.parametrize("chunk", [7, 128, 10_000])
def test_store_does_not_depend_on_parts_or_chunks(tmp_path: Path, samples, monkeypatch, part_bytes: int, chunk: int):
    monkeypatch.setattr(part_plans, "_PART_BYTES", part_bytes)
    monkeypatch.setattr(segments, "_EVENTS_AT_ONCE", 300)
    path = build_event_store(tiny_layout(tmp_path / "src", samples, chunk=chunk), tmp_path / "cache")
    check(path, samples)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(np.diff(file["samples/offset"]), [len(sample) for sample in samples])


def test_jumps_of_the_time_stay_in_their_part(tmp_path: Path):
    samples = [random_events(i, 50) for i in range(4)]
    for k, sample in enumerate(samples):
        sample.t[10 + k :] += 1 << 32 + k
    check(build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path / "cache"), samples)


def test_a_recording_of_another_size_is_noticed_whatever_its_time(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples[:2])
    found = [
        Source(recording.relative, *stat_source(recording), hash_file(recording.path))
        for recording in layout.recordings
    ]
    assert find_change(layout, found) is None
    for difference in (-1, 1):
        other = dataclasses.replace(found[1], size=found[1].size + difference)
        assert find_change(layout, [found[0], other]) == f"r001.npy had {other.size} bytes and has {found[1].size}"


def test_worker_processes_give_the_same_store(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    one = build_event_store(layout, tmp_path / "one")
    two = build_event_store(layout, tmp_path / "two", workers=2)
    check(two, samples)
    assert open_events(one).fingerprint == open_events(two).fingerprint
    assert one.read_bytes() == two.read_bytes()


def test_second_run_decodes_nothing_and_keeps_the_file(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    before = build_event_store(layout, tmp_path / "cache").stat()
    after = build_event_store(layout, tmp_path / "cache").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(decoded(layout)) == 12


def test_a_touched_recording_is_compared_by_content(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    before = build_event_store(layout, tmp_path / "cache").stat()
    os.utime(layout.recordings[3].path)
    assert build_event_store(layout, tmp_path / "cache").stat().st_ino == before.st_ino
    assert len(decoded(layout)) == 12


def swap_two_events(layout: TinyLayout) -> TinyLayout:
    path = layout.recordings[3].path
    columns = np.load(path)
    np.save(path, columns[:, [1, 0, *range(2, columns.shape[1])]])
    return layout


def grow(layout: TinyLayout) -> TinyLayout:
    save_events(layout.recordings[3].path, random_events(99, 77))
    return layout


def drop(layout: TinyLayout) -> TinyLayout:
    return dataclasses.replace(layout, recordings=layout.recordings[:-1])


def relabel(layout: TinyLayout) -> TinyLayout:
    first = layout.recordings[0]
    other = dataclasses.replace(first, samples=(dataclasses.replace(first.samples[0], label=2),))
    return dataclasses.replace(layout, recordings=(other, *layout.recordings[1:]))


def decode_again(layout: TinyLayout) -> TinyLayout:
    return dataclasses.replace(layout, decoder="npy 2")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swap_two_events, "the content of r003.npy changed"),
        (grow, r"r003.npy had \d+ bytes and has \d+"),
        (drop, "0 recordings are new and 1 are missing, such as r011.npy"),
        (relabel, "the options, the labels, the splits or the decoder changed"),
        (decode_again, "the options, the labels, the splits or the decoder changed"),
    ],
)
def test_a_changed_source_is_noticed_and_built_again(tmp_path: Path, samples: list[Events], change, reason: str):
    import re

    layout = tiny_layout(tmp_path / "src", samples)
    first = open_events(build_event_store(layout, tmp_path / "cache")).fingerprint
    changed = change(layout)
    notes = Notes()
    path = build_event_store(changed, tmp_path / "cache", progress=notes)
    assert open_events(path).fingerprint != first
    assert len(notes.lines) == 1
    assert re.search(f"events.h5: {reason}; rebuilding it", notes.lines[0])


def test_a_damaged_store_is_made_again(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    path = build_event_store(layout, tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-100])
    notes = Notes()
    build_event_store(layout, tmp_path / "cache", progress=notes)
    assert "expected an event store, found one that cannot be read" in notes.lines[0]
    check(path, samples)


def test_another_data_set_under_the_name_is_not_replaced(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    path = build_event_store(layout, tmp_path / "cache")
    with pytest.raises(CacheMismatchError, match=r"expected data set other, found tiny. Give another --name"):
        build_event_store(dataclasses.replace(layout, dataset="other"), tmp_path / "cache")
    check(path, samples)


def test_empty_samples_are_named_all_together(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples)
    for i in (2, 7):
        save_events(layout.recordings[i].path, Events.empty(8, 10))
    with pytest.raises(RecordingError) as error:
        build_event_store(layout, tmp_path / "cache")
    assert [line.partition(": expected")[0] for line in error.value.errors] == [
        f"{layout.recordings[i].path}: sample 'sämple{i}'" for i in (2, 7)
    ]
    assert "expected at least one event, found none." in str(error.value)
    assert whole_files(tmp_path / "cache" / "tiny") == set()
    # What could be decoded is kept: mended, only the two are decoded again.
    for i in (2, 7):
        save_events(layout.recordings[i].path, samples[i])
    check(build_event_store(layout, tmp_path / "cache"), samples)
    assert decoded(layout)[12:] == ["r002.npy", "r007.npy"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_damaged_and_missing_recordings_are_told_together(tmp_path: Path, samples: list[Events], workers: int):
    layout = tiny_layout(tmp_path / "src", samples)
    for i in (1, 4):
        layout.recordings[i].path.write_bytes(b"no numpy file")
    with pytest.raises(RecordingError) as error:
        build_event_store(layout, tmp_path / "cache", workers=workers)
    assert [Path(line.split(":")[0]).name for line in error.value.errors] == ["r001.npy", "r004.npy"]
    layout.recordings[5].path.unlink()
    with pytest.raises(RecordingError, match=r"r005.npy: cannot be read"):
        build_event_store(layout, tmp_path / "cache", workers=workers)


def test_many_faults_end_in_a_count(tmp_path: Path):
    layout = tiny_layout(tmp_path / "src", [random_events(0)] * 30)
    for recording in layout.recordings:
        recording.path.write_bytes(b"")
    with pytest.raises(RecordingError) as error:
        build_event_store(layout, tmp_path / "cache")
    assert len(error.value.errors) == 21
    assert error.value.errors[-1] == "tiny: 10 more errors of this kind. Correct these first."


def test_events_outside_of_the_sensor_are_refused(tmp_path: Path, samples: list[Events]):
    layout = dataclasses.replace(tiny_layout(tmp_path / "src", samples), width=9)
    with pytest.raises(RecordingError, match=r"expected events within 8x9 pixels \(rows x columns\), found others"):
        build_event_store(layout, tmp_path / "cache")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, samples: list[Events]):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match=r"cache/tiny: expected a folder that can be written .* Choose another"):
        build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_parts_and_leaves_nothing_half_written(tmp_path: Path, samples, stop, workers: int):
    layout = tiny_layout(tmp_path / "src", samples)
    cache = tmp_path / "cache"

    class Stop(Progress):
        done = 0

        def task(self, name, total, unit):
            import contextlib

            def advance(amount: float) -> None:
                self.done += 1
                if self.done == 5:
                    raise stop

            return contextlib.nullcontext(advance)

    with pytest.raises(stop):
        build_event_store(layout, cache, workers=workers, progress=Stop())
    assert whole_files(cache / "tiny") == set()
    kept = [path.name for path in (cache / "tiny" / ".parts").iterdir()]
    assert len(kept) >= 5 and all(name.endswith(".h5") and not name.startswith(".") for name in kept)
    check(build_event_store(layout, cache), samples)
    assert len(decoded(layout)) == 12


def test_an_interrupt_while_merging_leaves_nothing_half_written(tmp_path: Path, samples, monkeypatch):
    layout = tiny_layout(tmp_path / "src", samples)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("preprocess.building.merge.seal", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_event_store(layout, tmp_path / "cache")
    assert whole_files(tmp_path / "cache" / "tiny") == set()
    check(build_event_store(layout, tmp_path / "cache"), samples)
    assert len(decoded(layout)) == 12


def test_a_full_disk_is_one_line(tmp_path: Path, samples, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("preprocess.store.chunk_compression.write", full)
    with pytest.raises(CacheError, match=r"events.h5: cannot be written \(.*No space left on device\). Check the free"):
        build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path / "cache")
    assert whole_files(tmp_path / "cache" / "tiny") == set()


def test_a_damaged_part_is_deleted_and_told(tmp_path: Path, samples, monkeypatch):
    layout = tiny_layout(tmp_path / "src", samples)
    folder = tmp_path / "cache" / "tiny" / ".parts"
    folder.mkdir(parents=True)
    plan = part_plans.plan_parts(layout)[3]
    plan.path(folder).write_bytes(b"torn by a power failure")
    with pytest.raises(
        CacheError, match=r"expected a readable part, found damage .* deleted. Run the same command again"
    ):
        build_event_store(layout, tmp_path / "cache")
    check(build_event_store(layout, tmp_path / "cache"), samples)


@pytest.mark.parametrize("alone", [True, False])
def test_a_large_recording_is_hashed_as_it_is(tmp_path: Path, monkeypatch, alone: bool):
    """Alone, in another thread; that thread ends if the recording is damaged."""
    monkeypatch.setattr(recordings_to_samples, "_LARGE_BYTES", 0)
    layout = tiny_layout(tmp_path / "src", [random_events(k, 3000) for k in range(1 if alone else 2)])
    path = build_event_store(layout, tmp_path / "cache")
    with h5py.File(path) as file:
        found = file["sources/sha256"][...].tolist()
    contents = [recording.path.read_bytes() for recording in layout.recordings]
    assert found == [hashlib.sha256(content).hexdigest().encode() for content in contents]
    layout.recordings[0].path.write_bytes(contents[0][:100])
    before = threading.active_count()
    with pytest.raises(RecordingError, match="damaged"):
        build_event_store(layout, tmp_path / "cache")
    assert threading.active_count() == before
