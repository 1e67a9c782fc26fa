"""The frame cache: every sample of a data set binned one way, in one HDF5 file.

/frames            counts, the smallest unsigned type that fits the largest, shape (N, T, 2, H, W), a chunk per sample;
                   imported frames whose values are not counts are float32
/length            number of frames of each sample, int64 (N,), if T varies; further frames are zero
/samples/...       the event store's `SampleTable`
/samples/dropped   events that are in no frame, int64 (N,), if the rule drops events or a sample has such events
/samples/repeated  events that are in several frames, int64 (N,), if a sample has such events
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.store.cache_file_names import frame_cache_in
from preprocess.store.chunk_compression import FRAMES, ChunkReader, Packed, check_stored, create, pack, pack_many, write
from preprocess.store.frame_lengths import Steps
from preprocess.store.sample_table import SampleTable
from preprocess.store.sealed_cache_file import READ_WITH, CacheFile, seal

FORMAT = "spikeloom-frames"
VERSION = 1
LARGEST_CHUNK_BYTES = 64 << 20


def open_frames(path: Path | str) -> FrameCache:
    """Open a frame cache, ``CACHE/<name>/frames/<binning>.h5``, or the only one in a folder.

    Its ``read(i)`` returns the counts of sample i, shape (T, 2, H, W), in the unsigned type of the cache.

    Raises:
        CacheError: If it is missing, damaged or of another format, or a folder contains several.
        CacheMismatchError: If another version of the format wrote it.
    """
    return FrameCache(frame_cache_in(Path(path)))


class FrameCache(CacheFile):
    """Samples of frames, read one or many at a time.

    Attributes:
        binning: How the frames were made.
        timesteps: T; the largest if it varies.
        lengths: Number of frames of each sample, int64 (N,); T if it does not vary.
        dropped: Events of each sample that are in no frame, int64 (N,).
        repeated: Events of each sample that are in several frames, int64 (N,); None in caches of versions that did not
            count them.
        height: Rows of the frames.
        width: Columns of the frames.
        dtype: Type of the counts.
        fingerprint: Fingerprint of the event store that the frames were built from, or of imported files.
    """

    FORMAT: ClassVar[str] = FORMAT
    VERSION: ClassVar[int] = VERSION
    KIND: ClassVar[str] = "a frame cache"

    binning: Binning
    dtype: np.dtype[Any]

    def _read_description(self, file: h5py.File) -> None:
        super()._read_description(file)
        self.binning = Binning.from_attributes(self.attributes)
        steps = Steps.read(file, self.binning, len(self.samples))
        for name, value in steps.seals(self.binning).items():
            if self.attributes.get(name, value) != value:
                raise ValueError(f"/length, /samples/dropped or /samples/repeated does not match its seal ({name})")
        self.lengths, self.dropped, self.timesteps = steps.lengths, steps.dropped, steps.longest
        # Earlier versions did not count events in several frames, or in none by a rule that drops no sorted events.
        self.repeated: NDArray[np.int64] | None = steps.repeated if "coverage_sha256" in self.attributes else None
        if self.binning.imported:
            for name in ("source", "axes"):
                self._attribute(name, str)
        check_stored(
            file["frames"], (len(self.samples), *self.sample_shape), "uf", (1, None, 2, self.height, self.width)
        )
        self.dtype = file["frames"].dtype

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        """(T, 2, H, W)."""
        return self.timesteps, 2, self.height, self.width

    def _readers(self, file: h5py.File) -> ChunkReader:
        return ChunkReader(file["frames"])

    def read(self, i: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sample i's counts.

        Args:
            i: 0 .. N - 1.
            out: Where to put them: contiguous, this cache's dtype, shape (T, 2, H, W); a new array if None.

        Raises:
            CacheError: If a byte of it changed since it was written.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: expected a sample number below {len(self)}, found {i}")
        if out is None:
            out = np.empty(self.sample_shape, self.dtype)
        elif out.shape != self.sample_shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"expected a contiguous {self.dtype} buffer of shape {self.sample_shape}")
        reader = self._handle()
        steps = reader.chunks[1]
        try:
            for t in range(0, self.timesteps, steps):
                if t + steps <= self.timesteps:
                    reader.read((i, t, 0, 0, 0), out[None, t : t + steps])
                else:
                    reader.dataset.read_direct(out, np.s_[i, t:], np.s_[t:])
        except (OSError, ValueError, RuntimeError) as error:
            raise self._damaged(i, error) from None
        return out

    def read_batch(self, indices: Sequence[int] | NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The counts of several samples, shape (B, T, 2, H, W), written to `out` if given."""
        if out is None:
            out = np.empty((len(indices), *self.sample_shape), self.dtype)
        elif len(out) != len(indices):
            raise ValueError(f"expected a buffer for {len(indices)} samples, found one for {len(out)}")
        for row, i in zip(out, indices, strict=True):
            self.read(int(i), row)
        return out

    @property
    def remedy(self) -> str:
        """The next step for the user if the file is damaged."""
        return self._repair()

    def _repair(self) -> str:
        if self.path.stem.startswith("imported"):
            name, source = self.path.parent.parent.name, getattr(self, "attributes", {}).get("source", "DIR")
            return f"Import the frames again: spikeloom preprocess frames --name {name} --source {source}"
        return "Delete the file; spikeloom preprocess, train and tune rebuild it from the event store."

    def _next(self) -> str:
        return self._repair() if self.path.is_file() else "It is built by spikeloom preprocess, train and tune."


class FramesOrigin(Protocol):
    """What frames are made of: an event store, or the samples of imported frames.

    Attributes:
        dataset: The name of the data set.
        classes: Class names, by class number.
        height: Sensor rows.
        width: Sensor columns.
        fingerprint: Its fingerprint.
        samples: The sample table.
    """

    dataset: str
    classes: tuple[str, ...]
    height: int
    width: int
    fingerprint: str
    samples: SampleTable


def chunk_shape(store: FramesOrigin, binning: Binning, steps: Steps, dtype: Any) -> tuple[int, int, int, int, int]:
    """The shape of a chunk: a sample, or as many of its frames as fit into a chunk."""
    rows, columns = binning.size(store.height, store.width)
    per_step = 2 * rows * columns * np.dtype(dtype).itemsize
    return 1, max(1, min(steps.longest, LARGEST_CHUNK_BYTES // per_step)), 2, rows, columns


def create_frames(
    file: h5py.File, store: FramesOrigin, binning: Binning, steps: Steps, dtype: Any, **more: Any
) -> h5py.Dataset:
    """Create an empty frame cache with its tables and attributes, and `more` of them; returns the dataset to fill."""
    chunk = chunk_shape(store, binning, steps, dtype)
    rows, columns = chunk[3:]
    attributes: dict[str, Any] = (
        {
            "format": FORMAT,
            "version": VERSION,
            "dataset": store.dataset,
            "classes": list(store.classes),
            "height": rows,
            "width": columns,
            "sensor_height": store.height,
            "sensor_width": store.width,
            "fingerprint": store.fingerprint,
            "read_with": READ_WITH,
        }
        | steps.seals(binning)
        | more
    )
    seal(file, store.samples, attributes | binning.to_attributes())
    steps.write(file, binning)
    return create(file, "frames", (len(store.samples), steps.longest, 2, rows, columns), dtype, chunk, FRAMES)


def pack_frames(frames: NDArray[Any], longest: int, chunk: tuple[int, int, int, int, int]) -> list[Packed]:
    """Pack the counts of a sample, (F, 2, H, W) of the dataset's type, padded with zeros to `longest` frames."""
    if len(frames) < longest:
        padding = np.zeros((longest - len(frames), *frames.shape[1:]), frames.dtype)
        frames = np.concatenate([frames, padding])
    return pack_samples(frames[None], chunk)[0]


def pack_samples(frames: NDArray[Any], chunk: tuple[int, int, int, int, int]) -> list[list[Packed]]:
    """Pack the counts of S samples, (S, T, 2, H, W) of the dataset's type; returns the chunks of each."""
    steps = chunk[1]
    if frames.shape[1] == steps:
        return [[packed] for packed in pack_many(frames[:, None], FRAMES, chunk)]
    starts = range(0, frames.shape[1], steps)
    return [[pack(sample[None, t : t + steps], FRAMES, chunk) for t in starts] for sample in frames]


def write_frames(dataset: h5py.Dataset, i: int, packed: list[Packed]) -> None:
    """Write the chunks of sample i."""
    # Asking HDF5 for the shape of its chunks takes as long as writing one.
    steps = dataset.chunks[1] if len(packed) > 1 else 0
    for k, chunk in enumerate(packed):
        write(dataset, (i, k * steps, 0, 0, 0), chunk)
