"""Small recordings that are decoded together give what they give one by one: events, notes and errors."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from raw_files import atis

from preprocess.binning.binning_config import Binning
from preprocess.building import build_frame_cache, small_recordings
from preprocess.building import recordings_to_samples as parts
from preprocess.building.build_event_store import build_event_store, ensure_every_frames
from preprocess.datasets import find_layout
from preprocess.datasets.layout import Layout
from preprocess.errors import RecordingError
from preprocess.formats import FORMATS, open_recording

BINNINGS = [Binning(4), Binning(3, "time"), Binning(split_by="duration", duration_us=30_000, downsample=2)]


def some_atis(seed: int, events: int = 300, *, ordered: bool = True) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(seed)
    t = rng.integers(0, 100_000, events)
    columns = (np.sort(t) if ordered else t, *rng.integers(0, 34, (2, events)), rng.integers(0, 2, events))
    return [tuple(row) for row in np.stack(columns, axis=1).tolist()]


REGULAR = atis(some_atis(1))
NOTED = {
    "unordered": atis(some_atis(2, ordered=False)),
    "marked": atis([*some_atis(3), (0, 0, 240, 0), (7, 1, 1, 1)]),
    "wrapped": atis([*some_atis(4), (1 << 22, 1, 1, 1), ((1 << 23) - 1, 2, 2, 0), (5, 3, 3, 1)]),
    "isolated": atis([(10, 1, 1, 1), (1 << 22, 2, 2, 1), (12, 3, 3, 1)]),
    "crowded": atis([(k, 5, 6, 1) for k in range(2000)]),
    "single": atis([(9, 33, 33, 0)]),
    "long": atis(some_atis(5, 70_000)),
}
FAULTY = {
    "empty": b"",
    "cut": REGULAR[:-2],
    "outside": atis([*some_atis(6), (100_000, 34, 0, 1)]),
    "foreign": b"#!AER-DAT2.0\r\n" + REGULAR,
    "below": atis([(0, 0, 34, 1)]),
}


def write(folder: Path, contents: dict[str, bytes]) -> Layout:
    """N-MNIST with these recordings between regular ones."""
    for number, content in enumerate([REGULAR, *(c for one in contents.values() for c in (one, REGULAR)), REGULAR]):
        path = folder / ("Train" if number % 5 else "Test") / str(number % 2) / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return find_layout("n-mnist", folder)


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "decode_small", lambda layout, recordings: iter(recordings))


def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the recordings that are decoded together."""
    counted: list[int] = []
    regular = small_recordings._regular_runs

    def count(batch, events, counts):
        for run in regular(batch, events, counts):
            counted.append(len(run.recordings) if isinstance(run, small_recordings.SmallRecordings) else 0)
            yield run

    monkeypatch.setattr(small_recordings, "_regular_runs", count)
    return counted


@pytest.mark.parametrize("block", [4_000, 1 << 20])
@pytest.mark.parametrize("options", [{}, {"sort": True}, {"salvage": True}], ids=str)
def test_store_and_frames_are_those_of_recordings_decoded_one_by_one(
    tmp_path: Path, monkeypatch, options: dict[str, bool], block: int
):
    contents = NOTED | ({"cut": FAULTY["cut"]} if "salvage" in options else {})
    layout = dataclasses.replace(write(tmp_path / "src", contents), **options)
    monkeypatch.setattr(small_recordings, "BLOCK_BYTES", block)
    counted = together(monkeypatch)
    path = build_event_store(layout, tmp_path / "together")
    frames = ensure_every_frames(tmp_path / "together", layout.name, BINNINGS, workers=2)
    assert sum(counted) >= len(NOTED) + 2
    with monkeypatch.context() as plain:
        one_by_one(plain)
        plain.setattr(build_frame_cache, "_EVENTS_AT_ONCE", 1)
        other = build_event_store(layout, tmp_path / "alone")
        alone = ensure_every_frames(tmp_path / "alone", layout.name, BINNINGS)
    assert path.read_bytes() == other.read_bytes()
    assert [found.read_bytes() for found in frames] == [found.read_bytes() for found in alone]
    with h5py.File(path) as file:
        assert "clock_wraps" in json.loads(file.attrs["notes"])


@pytest.mark.parametrize("names", [[name] for name in FAULTY] + [[*FAULTY]], ids=str)
def test_errors_are_those_of_recordings_decoded_one_by_one(tmp_path: Path, monkeypatch, names: list[str]):
    layout = write(tmp_path / "src", {name: FAULTY[name] for name in names})
    with pytest.raises(RecordingError) as found:
        build_event_store(layout, tmp_path / "together")
    one_by_one(monkeypatch)
    with pytest.raises(RecordingError) as expected:
        build_event_store(layout, tmp_path / "alone")
    assert found.value.errors == expected.value.errors
    assert len(found.value.errors) == len(names)


def test_a_file_that_changes_while_it_is_read_is_left_to_the_single_decoder(tmp_path: Path, monkeypatch):
    layout = write(tmp_path / "src", {})
    counted = together(monkeypatch)
    readv = small_recordings.os.readv

    def growing(file: int, buffers: list[memoryview]) -> int:
        layout.recordings[1].path.write_bytes(REGULAR * 2)
        return readv(file, buffers)

    monkeypatch.setattr(small_recordings.os, "readv", growing)
    path = build_event_store(layout, tmp_path / "cache")
    with h5py.File(path) as file:
        assert sorted(np.diff(file["samples/offset"]).tolist()) == [300] * (len(layout.recordings) - 1) + [600]
    assert sum(counted) < len(layout.recordings)


def array(seed: int, kinds: str = "i4 i1 i1 i1", **changed: np.ndarray) -> np.ndarray:
    rows = np.zeros(300, [(name, kind) for name, kind in zip("txyp", kinds.split(), strict=True)])
    for name, column in zip("txyp", zip(*some_atis(seed), strict=True), strict=True):
        rows[name] = column
    for name, value in changed.items():
        rows[name][7] = value
    return rows


def saved(rows: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, rows)
    return content.getvalue()


def some_arrays() -> list[np.ndarray]:
    kinds = ("i4 i1 i1 i1", "u4 u2 u2 u1", "i8 i2 i2 ?", "f8 u1 u1 i1", ">i4 i1 i1 i1", "i8 i4 i4 i4")
    arrays = [array(seed, kinds[seed // 2 % len(kinds)]) for seed in range(24)]
    return [*arrays, array(30, p=-1), array(31, "i8 i1 i1 i1", t=1 << 40), array(32, t=-9), array(33)[:1]]


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.DECODES_FILES])
def test_files_decoded_together_are_those_decoded_alone(tmp_path: Path, name: str):
    """The contract of `decode_files`, for every format that has it."""
    damaged = [saved(array(40, x=34)), saved(array(41, p=3)), saved(array(42))[:-1], b"", saved(np.zeros((3, 4), int))]
    contents = {
        "atis": [REGULAR, *NOTED.values(), *FAULTY.values(), REGULAR],
        "npy": [*map(saved, some_arrays()), *damaged, saved(array(43)) + b"more", saved(array(44))],
    }[name]
    ends = np.cumsum([len(content) for content in contents])
    events, counts = FORMATS[name].decode_files(np.frombuffer(b"".join(contents), np.uint8), ends, 34, 34)
    done = 0
    for content, count in zip(contents, counts.tolist(), strict=True):
        path = tmp_path / f"a{FORMATS[name].SUFFIX}"
        path.write_bytes(content)
        try:
            alone = open_recording(path, format=name, size=(34, 34))
            chunks = list(alone.chunks())
        except RecordingError:
            # A signature is no part of the contents: the caller has checked it.
            assert count == -1 or content == FAULTY["foreign"]
        else:
            assert count == -1 or not alone.notes
            assert count >= 0 or alone.notes or name != "atis", "left to the decoder of single files without a reason"
            for column in "txyp" if count > 0 else "":
                expected = np.concatenate([getattr(chunk, column) for chunk in chunks])
                np.testing.assert_array_equal(getattr(events, column)[done : done + count], expected)
        done += max(count, 0)
    assert done == len(events)


@pytest.mark.parametrize("options", [{}, {"sort": True}], ids=str)
def test_small_arrays_are_decoded_together_to_the_same_store(tmp_path: Path, monkeypatch, options: dict[str, bool]):
    for number, rows in enumerate(some_arrays()):
        path = tmp_path / "src" / str(number % 2) / f"{number:05d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rows)
    layout = dataclasses.replace(find_layout("folder", tmp_path / "src", name="mine", size=(34, 34)), **options)
    with monkeypatch.context() as counting:
        counted = together(counting)
        path = build_event_store(layout, tmp_path / "together")
        assert sum(counted) >= 12
    one_by_one(monkeypatch)
    alone = build_event_store(layout, tmp_path / "alone")
    assert path.read_bytes() == alone.read_bytes()


def test_small_arrays_outside_the_sensor_are_named(tmp_path: Path):
    for number in range(4):
        (tmp_path / "src" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        changed = {"x": 34} if number == 2 else {"p": 3} if number == 3 else {}
        np.save(tmp_path / "src" / str(number % 2) / f"{number}.npy", array(number, **changed))
    layout = find_layout("folder", tmp_path / "src", name="mine", size=(34, 34))
    with pytest.raises(RecordingError) as refused:
        build_event_store(layout, tmp_path / "cache")
    text = str(refused.value)
    assert "2.npy: expected a pixel within 34x34" in text and "3.npy: expected polarities 0 and 1" in text
