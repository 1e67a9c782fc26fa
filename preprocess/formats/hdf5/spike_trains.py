"""Data sets of spike trains in HDF5: SHD and SSC, many samples in one file, as one recording of a 1x700 sensor.

``spikes/times`` (s) and ``spikes/units`` contain an array for each sample, ``labels`` its class; ``extra/keys`` are the
names of the classes and ``extra/speaker`` the speaker of each sample. Sample k is the events in
[k * PERIOD_US, (k + 1) * PERIOD_US) of the recording, whose times in the sample are counted from k * PERIOD_US.
Source: Cramer et al., The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks, 2020,
https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.column_names import to_us
from preprocess.formats.hdf5.hdf5_recording import DAMAGED, Hdf5Recording, open_hdf5, reason
from preprocess.formats.recording import Recording, Size, file_size
from preprocess.hdf5_array_lengths import check_array_lengths
from preprocess.hdf5_heap import check_heap

PERIOD_US = 1 << 40

UNITS = 700

_EVENTS_A_CHUNK = 1 << 17
_SAMPLES_A_READ = 64

# More than any data set has: a damaged label would name as many classes.
_MOST_CLASSES = 10_000


@dataclass(frozen=True)
class SpikeTrainRecording(Recording):
    """The spikes of all samples, one after the other; a unit is a column, and every event is ON.

    Attributes:
        samples: Number of samples.
    """

    NAME: ClassVar[str] = "spike-trains"
    TITLE: ClassVar[str] = "HDF5 of spike trains"
    SUFFIX: ClassVar[str] = Hdf5Recording.SUFFIX
    OTHER_SUFFIXES = Hdf5Recording.OTHER_SUFFIXES
    MAGIC: ClassVar[bytes] = Hdf5Recording.MAGIC
    VERSION: ClassVar[int] = 1
    STORES_SIZE = "always"

    samples: int = 0

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> SpikeTrainRecording:
        """Count the samples; RecordingError if the file is damaged or contains other data."""
        labels = read_labels(path).labels
        return cls(path, 1, UNITS, 0, file_size(path), samples=len(labels))

    def decode(self) -> Iterator[Events]:
        """The spikes of all samples; RecordingError at the first that is not within the sensor or its period."""
        with open_hdf5(self.path) as file:
            heap = check_heap(self.path, self.size)
            spikes = file["spikes"]
            for name in ("times", "units"):
                check_array_lengths(self.path, spikes[name], heap)
            t, x = _Buffer(np.int64), _Buffer(np.uint16)
            for start in range(0, self.samples, _SAMPLES_A_READ):
                end = min(self.samples, start + _SAMPLES_A_READ)
                try:
                    times, units = spikes["times"][start:end], spikes["units"][start:end]
                except DAMAGED as error:
                    raise self._wrong(f"samples {start} to {end}", f"a damaged block ({reason(error)})") from None
                for k, (of_sample, units_of_sample) in enumerate(zip(times, units, strict=True), start):
                    t.add(self._times(k, of_sample))
                    x.add(self._units(k, of_sample, units_of_sample))
                if t.size >= _EVENTS_A_CHUNK:
                    yield self._events(t.take(), x.take())
            if t.size:
                yield self._events(t.take(), x.take())

    def _events(self, t: NDArray[np.int64], x: NDArray[np.uint16]) -> Events:
        return Events(t, x, np.zeros(len(t), np.uint16), np.ones(len(t), np.uint8), 1, UNITS)

    def _times(self, k: int, seconds: NDArray[Any]) -> NDArray[np.int64]:
        # Before anything is multiplied: SHD stores 16-bit floats, which do not reach 1e6.
        t, odd = to_us(np.asarray(seconds, np.float64), "s")
        odd |= (t < 0) | (t >= PERIOD_US)
        if odd.any():
            raise self._wrong(f"times of 0 to {PERIOD_US // 10**6} s", f"{seconds[int(np.argmax(odd))]} in sample {k}")
        return t + k * PERIOD_US

    def _units(self, k: int, times: NDArray[Any], units: NDArray[Any]) -> NDArray[np.uint16]:
        if len(times) != len(units):
            raise self._wrong("a unit for each time", f"{len(times)} times and {len(units)} units in sample {k}")
        if len(units) and not 0 <= int(units.min()) <= int(units.max()) < UNITS:
            raise self._wrong(f"units of 0 to {UNITS - 1}", f"{units.min()} to {units.max()} in sample {k}")
        return units.astype(np.uint16)

    def _wrong(self, expected: str, found: str) -> RecordingError:
        return RecordingError(f"{self.path}: expected {expected}, found {found}. The file is damaged; copy it again.")


class _Buffer:
    """Arrays that are joined when there are enough."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype
        self._parts: list[NDArray[Any]] = []
        self.size = 0

    def add(self, part: NDArray[Any]) -> None:
        self._parts.append(part)
        self.size += len(part)

    def take(self) -> NDArray[Any]:
        joined = np.concatenate(self._parts).astype(self._dtype, copy=False)
        self._parts, self.size = [], 0
        return joined


@dataclass(frozen=True)
class SpikeTrainLabels:
    """The samples of a file of spike trains.

    Attributes:
        labels: Class of each sample, int64 (N,).
        classes: Names of the classes; empty if the file does not have them.
        speakers: Speaker of each sample, int64 (N,); None if the file does not have them.
    """

    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    speakers: NDArray[np.int64] | None


def read_labels(path: Path) -> SpikeTrainLabels:
    """Read the labels of a file of spike trains.

    Raises:
        RecordingError: If it is damaged, or contains other data.
    """
    size = file_size(path)
    with open_hdf5(path) as file:
        datasets = [file.get(name) for name in ("labels", "spikes/times", "spikes/units")]
        if not all(isinstance(item, h5py.Dataset) and item.ndim == 1 for item in datasets):
            raise RecordingError(
                f"{path}: expected the data sets labels, spikes/times and spikes/units, found "
                f"{', '.join(list(file)[:8]) or 'none'}. Copy it again, or leave it out."
            )
        for item, name in zip(datasets[1:], ("times", "units"), strict=True):
            kind = h5py.check_vlen_dtype(item.dtype)
            if kind is None or kind.kind not in ("iu" if name == "units" else "iuf"):
                found = f"{kind or item.dtype} {'in arrays' if kind else 'in one array'}"
                raise RecordingError(
                    f"{path}: expected an array of numbers for each sample in spikes/{name}, found {found}. Copy it "
                    "again, or leave it out."
                )
        counts = {item.shape[0] for item in datasets}
        if len(counts) > 1 or datasets[0].dtype.kind not in "iu":
            found = " and ".join(map(str, sorted(counts)))
            raise RecordingError(
                f"{path}: expected a label, times and units for each sample, found {found} of them. The file is "
                "damaged; copy it again."
            )
        labels = np.asarray(datasets[0][()], np.int64)
        odd = (labels < 0) | (labels >= _MOST_CLASSES)
        if odd.any():
            k = int(np.argmax(odd))
            raise RecordingError(
                f"{path}: expected labels of 0 to {_MOST_CLASSES - 1}, found {labels[k]} for sample {k}. The file is "
                "damaged; copy it again."
            )
        keys, speakers = file.get("extra/keys"), file.get("extra/speaker")
        if keys is not None:
            if not isinstance(keys, h5py.Dataset) or keys.ndim != 1 or len(keys) > _MOST_CLASSES:
                found = f"an array of shape {keys.shape}" if isinstance(keys, h5py.Dataset) else "a group"
                raise RecordingError(
                    f"{path}: expected the names of up to {_MOST_CLASSES:,} classes in extra/keys, found {found}. The "
                    "file is damaged; copy it again."
                )
            if h5py.check_vlen_dtype(keys.dtype) is not None:
                check_array_lengths(path, keys, check_heap(path, size))
        names = [] if keys is None else [k.decode("utf-8", "replace") if isinstance(k, bytes) else str(k) for k in keys]
        known = speakers is not None and speakers.shape == labels.shape and speakers.dtype.kind in "iu"
        return SpikeTrainLabels(labels, tuple(names), np.asarray(speakers[()], np.int64) if known else None)
