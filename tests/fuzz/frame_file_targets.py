"""Targets for frames of other programs: NumPy's ``.npz``, the ``.pt`` files of torch.save, and tonic's ``.hdf5``."""

from __future__ import annotations

import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from preprocess.frame_import.frame_file import AXES, READERS, arrange, find_axes, read_frame_file
from preprocess.frame_import.import_frames import import_frames
from preprocess.store.frame_cache import open_frames

from .hdf5_mutators import edit_hdf5
from .mutators import edit_zip, set_number
from .target import Mutator, Target

_SHAPE = 3, 2, 4, 5
_MUTATORS: dict[str, tuple[Mutator, ...]] = {".npz": (edit_zip,), ".pt": (edit_zip, set_number), ".hdf5": (edit_hdf5,)}
_CACHE, _NAME = "cache", "imported"


def frame_file_targets() -> Iterator[Target]:
    """A target for reading each kind of file, and one for importing it into a cache."""
    for suffix in READERS:
        kind = suffix.removeprefix(".")
        # In a folder of a class, which gives the label of files without one.
        folder = "" if suffix == ".pt" else "source/a/"
        yield Target(f"frames-{kind}", f"source/0{suffix}", _SEEDS[suffix], _read, mutators=_MUTATORS[suffix])
        yield Target(
            f"import-{kind}",
            f"{folder or 'source/'}0{suffix}",
            _SEEDS[suffix],
            partial(_import, folder.count("/")),
            prepare=partial(_prepare, suffix),
            mutators=_MUTATORS[suffix],
            makes=(f"{_CACHE}/{_NAME}",),
        )


def _frames(dtype: str = "f4") -> np.ndarray:
    return np.arange(np.prod(_SHAPE)).reshape(_SHAPE).astype(dtype) % 7


def _npz(folder: Path) -> Iterator[bytes]:
    for number, save in enumerate((np.savez, np.savez_compressed)):
        save(folder / "a.npz", frames=_frames("u1" if number else "f8"))
        yield (folder / "a.npz").read_bytes()


def _pt(folder: Path) -> Iterator[bytes]:
    import torch

    frames = torch.from_numpy(_frames())
    for content in ((frames, 3), [frames.permute(0, 1, 3, 2), torch.tensor([2])], [frames.to(torch.uint8), 1]):
        for archive in (True, False):
            torch.save(content, folder / "a.pt", _use_new_zipfile_serialization=archive)
            yield (folder / "a.pt").read_bytes()
    with zipfile.ZipFile(folder / "b.pt", "w") as made:
        made.writestr("b/data.pkl", pickle.dumps([[1, 2.5, "x", None, (True, {})], 1], protocol=2))
    yield (folder / "b.pt").read_bytes()


def _hdf5(folder: Path) -> Iterator[bytes]:
    for label in (np.int64(1), np.array([2])):
        with h5py.File(folder / "a.hdf5", "w") as file:
            file.create_dataset("data/0", data=_frames("i2"), compression="gzip")
            file["target/0"] = label
        yield (folder / "a.hdf5").read_bytes()


_SEEDS: dict[str, Callable[[Path], Iterator[bytes]]] = {".npz": _npz, ".pt": _pt, ".hdf5": _hdf5}


def _read(path: Path) -> None:
    content = read_frame_file(path)
    assert content.frames.ndim == len(AXES) and content.frames.size > 0
    assert content.label is None or 0 <= content.label < 1 << 20
    axes, _ = find_axes(path, content.frames.shape)
    assert arrange(path, content.frames, axes).shape[1] == 2


def _prepare(suffix: str, folder: Path) -> None:
    """A second, valid file of another sample, and the folder of all caches."""
    (folder / _CACHE).mkdir()
    path = folder / "source" / (f"1{suffix}" if suffix == ".pt" else f"b/1{suffix}")
    path.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        path.write_bytes(next(iter(_SEEDS[suffix](Path(name)))))


def _import(levels: int, path: Path) -> None:
    source = path.parent if levels == 0 else path.parent.parent
    made = import_frames(source, _NAME, source.parent / _CACHE, workers=1)
    frames = open_frames(made.path)
    try:
        # The file may contain only zeros, and is then left out.
        assert 1 <= len(frames) <= 2
        assert all(frames.read(i).any() for i in range(len(frames)))
    finally:
        frames.close()
