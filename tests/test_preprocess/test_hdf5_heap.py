"""HDF5's global heap is walked before HDF5 reads it: damage there would make it loop for ever."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.errors import CacheError
from preprocess.hdf5_heap import SEARCHED_BYTES, check_heap
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    layout = tiny_layout(tmp_path / "src", [random_events(seed, 30) for seed in range(3)])
    events = build_event_store(layout, tmp_path / "cache")
    return events, ensure_frames(tmp_path / "cache", layout.name, Binning(4))


def test_every_cache_has_its_heap_where_it_is_looked_for(paths):
    for path in paths:
        assert len(check_heap(path)) == path.read_bytes().count(b"GCOL\x01") >= 1
        assert path.read_bytes().find(b"GCOL") < SEARCHED_BYTES / 8


@pytest.mark.parametrize("which", [0, 1])
def test_damaged_sizes_in_the_heap_are_refused_and_never_loop(paths, which: int):
    path, opened = paths[which], (open_events, open_frames)[which]
    whole = path.read_bytes()
    at = whole.find(b"GCOL")
    end = at + int.from_bytes(whole[at + 8 : at + 16], "little")
    place, sizes = at + 16, []
    while place < end:
        sizes.append(place + 8)
        index, size = (int.from_bytes(whole[place + a : place + b], "little") for a, b in ((0, 2), (8, 16)))
        place += size if index == 0 else 16 + -(-size // 8) * 8
    assert len(sizes) > 3
    for place in [at + 8, *sizes]:
        for wrong in (0, 1, 1 << 40, (1 << 64) - 1, (1 << 64) - 16):
            path.write_bytes(whole[:place] + wrong.to_bytes(8, "little") + whole[place + 8 :])
            with contextlib.suppress(CacheError):
                opened(path)
    path.write_bytes(whole[: at + 8] + bytes(8) + whole[at + 16 :])
    with pytest.raises(CacheError, match="a heap of 0 bytes at byte"):
        opened(path)
