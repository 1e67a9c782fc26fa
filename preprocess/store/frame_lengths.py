"""The number of frames of each sample, and of events that are in no frame or in several, before binning."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import measure_sample
from preprocess.binning.frame_ranges import MOST_FRAMES
from preprocess.errors import ConfigError
from preprocess.store.event_store import EventStore
from preprocess.store.hdf5_columns import read_integers, write_column
from preprocess.store.sample_table import SampleTable
from preprocess.terminal.progress import Progress


@dataclass(frozen=True, eq=False)
class Steps:
    """Frame and event counts of every sample of a data set for one binning.

    Attributes:
        lengths: Number of frames, int64 (N,); shorter samples are padded to the longest.
        dropped: Number of events that are in no frame, int64 (N,).
        repeated: Number of events that are in several frames, int64 (N,).
    """

    lengths: NDArray[np.int64]
    dropped: NDArray[np.int64]
    repeated: NDArray[np.int64]

    @property
    def longest(self) -> int:
        """Number of frames of the longest sample, T of the cache."""
        return int(self.lengths.max())

    def seals(self, binning: Binning) -> dict[str, str]:
        """The attributes that seal the columns, 64 hexadecimal digits each.

        The first is as in earlier versions, which did not count events that are dropped only for being out of order.
        """
        dropped = self.dropped if binning.drops else np.zeros_like(self.dropped)
        return {
            "steps_sha256": _seal(self.lengths, dropped),
            "coverage_sha256": _seal(self.dropped, self.repeated),
        }

    def write(self, file: h5py.File, binning: Binning) -> None:
        """Write ``/length`` if it varies, ``/samples/dropped`` and ``/samples/repeated`` if there are such events."""
        if binning.varies:
            write_column(file, "length", self.lengths)
        if binning.drops or self.dropped.any():
            write_column(file["samples"], "dropped", self.dropped)
        if self.repeated.any():
            write_column(file["samples"], "repeated", self.repeated)

    @staticmethod
    def read(file: h5py.File, binning: Binning, samples: int) -> Steps:
        """The inverse of `write`.

        Raises:
            KeyError, OSError, RuntimeError or ValueError: If a column that the binning requires is missing, or one is
                damaged or impossible.
        """
        table = file["samples"]
        full, none = np.full(samples, binning.timesteps, np.int64), np.zeros(samples, np.int64)
        lengths = read_integers(file, "length", samples) if binning.varies else full
        dropped = read_integers(table, "dropped", samples) if binning.drops or "dropped" in table else none
        repeated = read_integers(table, "repeated", samples) if "repeated" in table else none
        too_long = binning.varies and lengths.max() > MOST_FRAMES
        if too_long or lengths.min() < 1 or min(dropped.min(), repeated.min()) < 0:
            raise ValueError(f"expected 1 to {MOST_FRAMES} frames and counts from 0, found others")
        return Steps(lengths, dropped, repeated)

    def refuse_empty(self, binning: Binning, samples: SampleTable) -> None:
        """Raise a ConfigError if no event of any sample is in a frame: such frames are all zeros."""
        refuse_empty(self.dropped, binning, samples)


def refuse_empty(dropped: NDArray[np.int64], binning: Binning, samples: SampleTable) -> None:
    """As `Steps.refuse_empty`, for the number of events of each sample that are in no frame, int64 (N,)."""
    if int(dropped.sum()) < int(samples.offset[-1]):
        return
    longest = int(np.diff(samples.interval_us).max())
    reads = ", ".join(f"{name} {value}" for name, value in binning.to_attributes().items() if name != "downsample")
    raise ConfigError(
        f"binning: expected at least one event in a frame, found none in {len(samples)} samples, the longest of which "
        f"lasts {longest} us ({reads}). Choose frames within the samples."
    )


def _seal(*columns: NDArray[np.int64]) -> str:
    return hashlib.sha256(np.stack(columns).astype("<i8").tobytes()).hexdigest()


def measure_steps(store: EventStore, binnings: Sequence[Binning], progress: Progress | None = None) -> list[Steps]:
    """Measure the frames and events of every sample for several binnings, in one pass over the necessary times.

    Raises:
        CacheError: If a sample of the store is damaged.
        ConfigError: If a sample would have more than `frame_ranges.MOST_FRAMES` frames.
    """
    counts = store.samples.events
    # Rules that do not depend on the events only need samples that may be out of order.
    out_of_order = np.ones(len(store), bool) if store.backwards is None else store.backwards > 0
    measured = [binning for binning in binnings if _depends_on_events(binning)]
    if out_of_order.any():
        measured += [binning for binning in binnings if binning.needs_times and not _depends_on_events(binning)]
    found = {binning: np.array([(binning.timesteps, 0, 0)] * len(store), np.int64) for binning in binnings}
    if measured:
        name = f"{store.path.parent.name}: lengths"
        with (progress or Progress()).task(name, len(store), "samples") as advance:
            for i in range(len(store)):
                of_sample = [binning for binning in measured if out_of_order[i] or _depends_on_events(binning)]
                t = store.times(i) if any(binning.needs_times for binning in of_sample) else None
                for binning in of_sample:
                    found[binning][i] = measure_sample(int(counts[i]), t, binning)
                advance(1)
    return [Steps(*(column.copy() for column in found[binning].T)) for binning in binnings]


def _depends_on_events(binning: Binning) -> bool:
    """Whether even sorted events may be in no frame or in several, or fill a varying number of frames."""
    return binning.varies or binning.drops
