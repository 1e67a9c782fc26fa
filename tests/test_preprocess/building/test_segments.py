"""Segments: events read sample by sample, whatever the order in which they were decoded."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from preprocess.building.segment_kernels import count_outside
from preprocess.building.segments import SegmentReader, SegmentWriter
from preprocess.store.sealed_cache_file import new_file

JUMP_US = 1 << 32


def written(path: Path, kept: list[int], jumping: list[int]) -> Path:
    """Samples 0, 1, 2, 0, 1, 2 of ten events each time; the fifth event of a jumping sample jumps."""
    with new_file(path) as file:
        writer = SegmentWriter(file, np.uint16)
        for turn in range(2):
            for sample in range(3):
                address, delta = writer.room(12)
                address[:], delta[:] = sample, 10 * turn + np.arange(12)
                at = np.array([4] if sample in jumping and not turn else [], np.int64)
                writer.add(sample, 10, at, np.full(len(at), JUMP_US))
        writer.finish(np.array(kept, np.int64))
    return path


@pytest.mark.parametrize("kept", [[0, 1, 2], [1, 2], [0, 2], [1], []])
@pytest.mark.parametrize("jumping", [[], [0], [1], [0, 1, 2]])
def test_events_and_jumps_are_those_of_the_samples_kept(tmp_path: Path, kept: list[int], jumping: list[int]):
    with h5py.File(written(tmp_path / "part.h5", kept, jumping)) as file:
        reader = SegmentReader(file)
        pieces = [*reader.read(0, 20 * len(kept))] if kept else []
        address = np.concatenate([a for a, _ in pieces] or [[]])
        delta = np.concatenate([d for _, d in pieces] or [[]])
        assert address.tolist() == np.repeat(kept, 20).tolist()
        assert delta.tolist() == len(kept) * list(range(20))
        expected = [[20 * k + 4, JUMP_US] for k, sample in enumerate(kept) if sample in jumping]
        assert reader.jumps().tolist() == expected


def test_any_range_is_the_same_part_of_the_whole(tmp_path: Path):
    with h5py.File(written(tmp_path / "part.h5", [0, 2], [])) as file:
        reader = SegmentReader(file)
        whole = np.concatenate([d for _, d in reader.read(0, 40)])
        for l in range(0, 40, 3):
            for r in range(l + 1, 41, 4):
                assert np.array_equal(np.concatenate([d for _, d in reader.read(l, r)]), whole[l:r])


def test_an_event_at_the_end_of_an_interval_is_outside():
    t = np.array([0, 10, 19, 20, 25, 30, 39, 40, 100, 10])
    assert count_outside(t, np.array([10, 30]), np.array([20, 40])) == 5
    assert count_outside(np.array([15, 20]), np.array([10]), np.array([20])) == 1
