"""How many frames each sample fills, and how many of its events lie in none: known before anything is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.binning import Binning, measure_sample
from preprocess.columns import read_column, write_column
from preprocess.event_store import EventStore
from preprocess.progress import Progress


@dataclass(frozen=True, eq=False)
class Steps:
    """Of every sample of a data set, binned one way.

    Attributes:
        lengths: Frames that it fills, int64 (N,); padding follows up to the longest.
        dropped: Its events that lie in no frame, int64 (N,).
    """

    lengths: NDArray[np.int64]
    dropped: NDArray[np.int64]

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    def sha256(self) -> str:
        """The seal, 64 hexadecimal digits."""
        content = np.stack([self.lengths, self.dropped]).astype("<i8")
        return hashlib.sha256(content.tobytes()).hexdigest()

    def write(self, file: h5py.File, binning: Binning) -> None:
        """Write ``/length`` where it varies and ``/samples/dropped`` where the rule drops events."""
        if binning.varies:
            write_column(file, "length", self.lengths)
        if binning.drops:
            write_column(file["samples"], "dropped", self.dropped)

    @staticmethod
    def read(file: h5py.File, binning: Binning, samples: int) -> Steps:
        """The inverse of `write`; KeyError or OSError where the file lacks what its binning calls for."""
        lengths = read_column(file, "length") if binning.varies else np.full(samples, binning.timesteps, np.int64)
        dropped = read_column(file, "samples/dropped") if binning.drops else np.zeros(samples, np.int64)
        return Steps(lengths, dropped)


def measure_steps(store: EventStore, binnings: Sequence[Binning], progress: Progress | None = None) -> list[Steps]:
    """The steps of every sample in each of several binnings, in one pass over the times; none where it knows without.

    Raises:
        CacheError: If a sample of the store is damaged.
        ConfigError: If a sample would have more frames than anyone can want.
    """
    counts = store.samples.events
    measured = [binning for binning in binnings if binning.varies or binning.drops]
    found: dict[Binning, list[tuple[int, int]]] = {binning: [] for binning in measured}
    if measured:
        needs_times = any(binning.needs_times for binning in measured)
        name = f"{store.path.parent.name}: lengths"
        with (progress or Progress()).task(name, len(store), "samples") as advance:
            for i in range(len(store)):
                t = store.times(i) if needs_times else None
                for binning in found:
                    found[binning].append(measure_sample(int(counts[i]), t, binning))
                advance(1)
    answers = []
    for binning in binnings:
        known = found.get(binning) or [(binning.timesteps, 0)] * len(store)
        lengths, dropped = np.array(known, np.int64).T
        answers.append(Steps(lengths.copy(), dropped.copy()))
    return answers
