"""Arrays of variable length that claim more than their object in the heap are refused before HDF5 reserves memory."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from preprocess.errors import RecordingError
from preprocess.formats.hdf5.spike_trains import read_labels
from preprocess.hdf5_array_lengths import check_array_lengths
from preprocess.hdf5_heap import check_heap

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunks": {"chunks": (4,)},
    "gzip": {"chunks": (4,), "compression": "gzip"},
    "shuffled-gzip": {"chunks": (4,), "compression": "gzip", "shuffle": True},
}
KINDS: dict[str, Any] = {"numbers": h5py.vlen_dtype(np.float32), "text": h5py.string_dtype()}


def write(path: Path, layout: str, kind: str, **more: Any) -> None:
    with h5py.File(path, "w", **more) as file:
        data = file.create_dataset("arrays", (11,), KINDS[kind], **LAYOUTS[layout])
        for k in range(11):
            data[k] = np.arange(k, dtype=np.float32) if kind == "numbers" else "x" * k


def check(path: Path) -> None:
    with h5py.File(path) as file:
        check_array_lengths(path, file["arrays"], check_heap(path, path.stat().st_size))


def change_length(path: Path, k: int, length: int) -> None:
    """Change how long array k says that it is, as no library would."""
    with h5py.File(path, "r+") as file:
        data = file["arrays"]
        filters = {
            data.id.get_create_plist().get_filter(i)[0] for i in range(data.id.get_create_plist().get_nfilters())
        }
        if data.chunks is None:
            position = data.id.get_offset() + 16 * k
        else:
            first = k // 4 * 4
            mask, chunk = data.id.read_direct_chunk((first,))
            plain = bytearray(zlib.decompress(chunk) if h5py.h5z.FILTER_DEFLATE in filters else chunk)
            places = [16 * (k - first) + i for i in range(4)]
            if h5py.h5z.FILTER_SHUFFLE in filters and not mask & 1:
                places = [i * 4 + k - first for i in range(4)]
            for place, byte in zip(places, length.to_bytes(4, "little"), strict=True):
                plain[place] = byte
            again = zlib.compress(plain) if h5py.h5z.FILTER_DEFLATE in filters else bytes(plain)
            data.id.write_direct_chunk((first,), again, mask)
            return
    with path.open("r+b") as raw:
        raw.seek(position)
        raw.write(length.to_bytes(4, "little"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_lengths_that_differ_from_the_heap_are_refused_and_others_not(tmp_path: Path, layout: str, kind: str):
    path = tmp_path / "arrays.h5"
    write(path, layout, kind)
    check(path)
    for wrong in (4, 6, (1 << 32) - 1):
        change_length(path, 5, wrong)
        with pytest.raises(ValueError, match=f"an array of {wrong * (4 if kind == 'numbers' else 1)} bytes in /arrays"):
            check(path)
    change_length(path, 5, 5)
    check(path)


def test_a_block_in_front_of_the_file_moves_all_addresses(tmp_path: Path):
    for layout in LAYOUTS:
        write(tmp_path / "arrays.h5", layout, "numbers", userblock_size=512)
        check(tmp_path / "arrays.h5")


def test_arrays_compressed_otherwise_are_refused(tmp_path: Path):
    with h5py.File(tmp_path / "arrays.h5", "w") as file:
        file.create_dataset("arrays", (4,), KINDS["numbers"], chunks=(4,), compression="lzf")[:] = np.ones(3, "f4")
    with pytest.raises(ValueError, match="another filter than gzip"):
        check(tmp_path / "arrays.h5")


def test_names_of_classes_are_checked_before_they_are_read(tmp_path: Path):
    path = tmp_path / "shd_train.h5"
    write(path, "contiguous", "text")
    with h5py.File(path, "r+") as file:
        file["labels"] = np.zeros(2, np.uint16)
        for name in ("times", "units"):
            file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(np.uint16))
        file["extra/keys"] = file["arrays"]
    assert len(read_labels(path).classes) == 11
    change_length(path, 5, (1 << 32) - 1)
    with pytest.raises(RecordingError, match="an array of 4294967295 bytes in /"):
        read_labels(path)
