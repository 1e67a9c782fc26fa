"""Sources of frames: a frame cache, or an event store whose events are binned when they are read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_addresses_into
from preprocess.events import Events
from preprocess.store.event_store import EventStore
from preprocess.store.frame_lengths import measure_steps
from preprocess.store.sample_table import SampleTable
from preprocess.terminal.progress import Progress


class FrameSource(Protocol):
    """Frames of every sample of a data set; implemented by `FrameCache` and `EventFrames`.

    Attributes:
        path: The file behind it.
        dataset: The name of the data set.
        classes: Class names, by class number.
        fingerprint: Fingerprint of the event store.
        binning: How the frames are made.
        timesteps: T; the largest if it varies.
        lengths: Number of frames of each sample, int64 (N,); further frames, up to T, are zero.
        height: Rows of the frames.
        width: Columns of the frames.
        dtype: Type of the counts, an unsigned type that fits all of them.
    """

    path: Path
    dataset: str
    classes: tuple[str, ...]
    fingerprint: str
    binning: Binning
    timesteps: int
    lengths: NDArray[np.int64]
    height: int
    width: int
    dtype: np.dtype[Any]

    @property
    def samples(self) -> SampleTable:
        """The sample table."""
        ...

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        """(T, 2, H, W)."""
        ...

    def __len__(self) -> int: ...

    def read(self, i: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sample i's counts, shape (T, 2, H, W), written to `out` (contiguous, of this shape and dtype) if given."""
        ...

    def read_batch(self, indices: Sequence[int] | NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The counts of several samples, shape (B, T, 2, H, W), written to `out` if given."""
        ...

    def close(self) -> None:
        """Close this process's file; the next read opens it again."""
        ...


class EventFrames:
    """Frames binned from an event store when they are read, so that another T or changed events need no disk space.

    The counts equal those of a frame cache with the same binning, in a type that fits the events of any sample. An
    object may be pickled, forked with, and shared by threads, as the store may.
    """

    def __init__(self, store: EventStore, binning: Binning, *, progress: Progress | None = None) -> None:
        """Bind a store to a binning.

        Args:
            store: The events.
            binning: The rule. If T varies or events may be in no frame, the times of all samples are read once, here.
            progress: Where to report the progress of that.

        Raises:
            ConfigError: If the binning is invalid, or no event is in a frame.
        """
        binning.check()
        binning.refuse_imported()
        self.store = store
        self.binning = binning.plain()
        self._change: Callable[[int, Events], Events] | None = None
        self._read_events: Callable[[int], Events] = store.read
        self.path, self.dataset, self.classes = store.path, store.dataset, store.classes
        self.fingerprint = store.fingerprint
        self.height, self.width = binning.size(store.height, store.width)
        self.lengths = np.full(len(store), binning.timesteps, np.int64)
        if binning.varies or binning.drops:
            steps = measure_steps(store, [binning], progress)[0]
            steps.refuse_empty(binning, store.samples)
            self.lengths = steps.lengths
        self.timesteps = int(self.lengths.max())
        # No count exceeds the number of events of a sample.
        self.dtype: np.dtype[Any] = np.min_scalar_type(int(store.samples.events.max()))

    @property
    def samples(self) -> SampleTable:
        """The sample table."""
        return self.store.samples

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        """(T, 2, H, W)."""
        return self.timesteps, 2, self.height, self.width

    def __len__(self) -> int:
        return len(self.store)

    def changed(self, change: Callable[[int, Events], Events]) -> EventFrames:
        """The frames of changed events, as an augmentation makes them.

        Args:
            change: Called with the number and events of a sample; returns the events to bin, possibly none.

        Raises:
            ValueError: If T varies, because changed samples might need more frames.
        """
        if self.binning.varies:
            raise ValueError(f"expected a rule with fixed T for changed events, found {self.binning.split_by}")
        other = copy.copy(self)
        other._change = change
        return other

    def keeping_events(self, most: int) -> EventFrames:
        """The same frames for several calls of `changed`: events that one of them has read stay in memory.

        Args:
            most: Maximum number of events in memory, 13 bytes each; those of further samples are read again.
        """
        other = copy.copy(self)
        other._read_events = _KeptEvents(self.store, most).read
        return other

    def read(self, i: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sample i's counts, shape (T, 2, H, W).

        Args:
            i: 0 .. N - 1.
            out: Where to put them: contiguous, of this shape and dtype; a new array if None.

        Raises:
            CacheError: If a byte of its events changed since they were written.
        """
        if out is None:
            out = np.empty(self.sample_shape, self.dtype)
        elif out.shape != self.sample_shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"expected a contiguous {self.dtype} buffer of shape {self.sample_shape}")
        t: NDArray[np.int64] | None
        if self._change is not None:
            events = self._change(i, self._read_events(i))
            address, t = events.address(), events.t
        elif self.binning.needs_times:
            address, t = self.store.addresses_and_times(i)
        else:
            address, t = self.store.addresses(i), None
        if len(address):
            bin_addresses_into(out, address, t, self.binning, self.store.height, self.store.width)
        else:
            out[...] = 0
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

    def close(self) -> None:
        """Close this process's file; the next read opens it again."""
        self.store.close()


class _KeptEvents:
    """Reads the events of samples, and keeps them as long as there is room."""

    def __init__(self, store: EventStore, room: int) -> None:
        self._store, self._room = store, room
        self._kept: dict[int, Events] = {}

    def read(self, i: int) -> Events:
        """The events of sample i, which the caller does not change."""
        events = self._kept.get(i)
        if events is None:
            events = self._store.read(i)
            if len(events) <= self._room:
                self._room -= len(events)
                self._kept[i] = events
        return events
