"""Metavision's HDF5 as the camera's software compresses it, read without its plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ecf_chunks
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated_files import decoded_or_refused
from raw_files import decode

from preprocess.errors import RecordingError
from preprocess.formats import NO_OPTIONS, open_recording
from preprocess.formats.hdf5 import hdf5_recording
from preprocess.formats.hdf5.ecf_kernels import PADDING, decode_ecf


def rows_of(steps: list[int], pixels: list[tuple[int, int, int]], start: int = 0) -> np.ndarray:
    rows = np.zeros(len(pixels), ecf_chunks.EVENT)
    rows["t"] = start + np.cumsum(steps[: len(pixels)])
    rows["x"], rows["y"], rows["p"] = np.array(pixels).T
    return rows


def random_rows(n: int) -> np.ndarray:
    """Runs of all lengths: neighbouring columns of a row at one time, and long pauses."""
    rng = np.random.default_rng(5)
    rows = np.zeros(n, ecf_chunks.EVENT)
    rows["t"] = 1_000_000 + np.cumsum(rng.choice([0, 0, 0, 1, 14, 15, 16, 70_000], n))
    rows["x"] = (np.arange(n) * rng.choice([1, 1, 1, 3, 250])) % 1280
    rows["y"] = np.repeat(rng.integers(0, 720, n // 40 + 1), 40)[:n]
    rows["p"] = np.repeat(rng.integers(0, 2, n // 200 + 1), 200)[:n]
    return rows


@given(
    pixels=st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 2047), st.integers(0, 1)), min_size=1, max_size=50),
    steps=st.lists(st.sampled_from([0, 0, 1, 14, 15, 16, 255, 1 << 40]), min_size=50, max_size=50),
    packing=st.sampled_from(["runs", "columns", "all"]),
)
def test_chunks_are_decoded_to_what_was_encoded(
    pixels: list[tuple[int, int, int]], steps: list[int], packing: ecf_chunks.Packing
):
    rows = rows_of(steps, pixels, 7)
    data = np.frombuffer(ecf_chunks.encode(rows, packing) + bytes(PADDING), np.uint8)
    t, x, y, p = np.zeros(60, np.int64), np.zeros(60, np.uint16), np.zeros(60, np.uint16), np.zeros(60, np.uint8)
    assert decode_ecf(data, t, x, y, p) == len(rows)
    for letter, column in zip("txyp", (t, x, y, p), strict=True):
        np.testing.assert_array_equal(column[: len(rows)], rows[letter])
    for cut in range(0, len(data) - PADDING, 7):
        shorter = np.concatenate([data[:cut], np.zeros(PADDING, np.uint8)])
        assert decode_ecf(shorter, t, x, y, p) in (-1, len(rows))


@pytest.mark.parametrize("block", [None, 128])
def test_a_file_of_metavision_is_read_without_its_plugin(
    tmp_path: Path, block: int | None, monkeypatch: pytest.MonkeyPatch
):
    if block:
        monkeypatch.setattr(hdf5_recording, "_EVENTS_A_CHUNK", block)
    rows = random_rows(5000)
    path = ecf_chunks.write(tmp_path / "a.hdf5", rows, 512)
    opened = open_recording(path)
    assert opened.format == "HDF5 (Metavision)" and (opened.height, opened.width) == (720, 1280)
    events = decode(path)
    for letter in "txyp":
        np.testing.assert_array_equal(getattr(events, letter), rows[letter])


def test_a_damaged_chunk_is_named_with_its_byte(tmp_path: Path):
    path = ecf_chunks.write(tmp_path / "a.hdf5", random_rows(2000), 512)
    with h5py.File(path, "r+") as file:
        file["CD/events"].id.write_direct_chunk((512,), bytes(20))
    with pytest.raises(
        RecordingError, match=r"found a damaged block at byte \d{3,} \(0 of 512 events in a chunk of ECF"
    ):
        decode(path)


def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    path = ecf_chunks.write(tmp_path / "base.h5", random_rows(1000), 256)
    contents = [("a.h5", path.read_bytes(), NO_OPTIONS)]
    decoded_or_refused(tmp_path, contents, (720, 1280), share_of(5000))
