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


def low_level(path: Path, shape: tuple[int, ...], stored: h5py.h5p.PropDCID) -> None:
    """A data set with settings that h5py's own interface does not have."""
    with h5py.File(path, "w") as file:
        kind = h5py.h5t.py_create(KINDS["numbers"], logical=True)
        made = h5py.h5d.create(file.id, b"arrays", kind, h5py.h5s.create_simple(shape), stored)
        h5py.Dataset(made)[...] = np.ones(3, np.float32)


def test_filters_of_h5py_are_read(tmp_path: Path):
    with h5py.File(tmp_path / "arrays.h5", "w") as file:
        file.create_dataset("arrays", (4,), KINDS["numbers"], chunks=(4,), compression="lzf")[:] = np.ones(3, "f4")
    check(tmp_path / "arrays.h5")


def test_a_chunk_that_is_compressed_twice_hides_nothing(tmp_path: Path):
    path = tmp_path / "arrays.h5"
    stored = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    stored.set_chunk((4,))
    stored.set_deflate(4)
    stored.set_deflate(4)
    low_level(path, (4,), stored)
    check(path)
    with h5py.File(path, "r+") as file:
        identifier = file["arrays"].id
        plain = bytearray(zlib.decompress(zlib.decompress(identifier.read_direct_chunk((0,))[1])))
        plain[16:20] = (1 << 24).to_bytes(4, "little")
        # Empty blocks first: the inner stream is longer than the chunk.
        whole = zlib.compress(bytes(plain))
        inner = whole[:2] + b"\0\0\0\xff\xff" * 40 + whole[2:]
        assert zlib.decompress(inner) == plain
        identifier.write_direct_chunk((0,), zlib.compress(inner), 0)
    with pytest.raises((ValueError, OSError)):
        check(path)


def test_every_array_of_a_table_is_checked(tmp_path: Path):
    path = tmp_path / "arrays.h5"
    for chunks in (None, (1, 4), (2, 3)):
        stored = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if chunks:
            stored.set_chunk(chunks)
        low_level(path, (2, 4), stored)
        check(path)
        with h5py.File(path, "r+") as file:
            identifier = file["arrays"].id
            if chunks:
                mask, content = identifier.read_direct_chunk((0, 0))
                forged = content[:16] + (1 << 24).to_bytes(4, "little") + content[20:]
                identifier.write_direct_chunk((0, 0), forged, mask)
            at = None if chunks else identifier.get_offset() + 16
        if at is not None:
            content = path.read_bytes()
            path.write_bytes(content[:at] + (1 << 24).to_bytes(4, "little") + content[at + 4 :])
        with pytest.raises(ValueError, match="an array of 67108864 bytes"):
            check(path)


def test_arrays_in_the_header_of_their_data_set_are_refused_with_a_remedy(tmp_path: Path):
    stored = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    stored.set_layout(h5py.h5d.COMPACT)
    low_level(tmp_path / "arrays.h5", (4,), stored)
    with pytest.raises(RecordingError, match=r"found another layout\. Rewrite the file: h5repack -l CONTI"):
        check(tmp_path / "arrays.h5")


def test_arrays_that_were_never_written_are_none(tmp_path: Path):
    for layout in LAYOUTS.values():
        with h5py.File(tmp_path / "arrays.h5", "w") as file:
            file.create_dataset("arrays", (11,), KINDS["numbers"], **layout)
        check(tmp_path / "arrays.h5")


@pytest.mark.parametrize("shape", [(1, 4), (1 << 40,)])
def test_names_of_classes_of_another_shape_are_refused_at_once(tmp_path: Path, shape: tuple[int, ...]):
    path = tmp_path / "shd_train.h5"
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(2, np.uint16)
        for name in ("times", "units"):
            file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(np.uint16))
        file.create_dataset("extra/keys", shape, "S4", chunks=(1, 4)[-len(shape) :])
    with pytest.raises(
        RecordingError, match="expected the names of up to 10,000 classes in extra/keys, found an array"
    ):
        read_labels(path)


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
