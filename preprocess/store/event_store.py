"""The event store: every event of a data set in one HDF5 file, as linear addresses and time differences.

/events/address       (p*H + y)*W + x, the smallest unsigned type that fits 2*H*W - 1, shape (E,)
/events/time_delta    µs since the previous event of the sample, modulo 2^32, uint32 (E,); a sample's first is 0
/events/jump_at       numbers of the few events whose difference is outside [-2^31, 2^31), int64 (J,)
/events/jump_us       the multiple of 2^32 missing in such a difference, int64 (J,)
/samples/...          `SampleTable`
/samples/backwards    events of each sample that are earlier than their predecessor, int64 (N,)
/sources/...          relative name, size, mtime_ns and sha256 of every recording
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.json_types import misfit
from preprocess.store.cache_file_names import event_store_in
from preprocess.store.chunk_compression import ChunkReader, check_stored
from preprocess.store.hdf5_columns import read_column, read_integers
from preprocess.store.sealed_cache_file import CacheFile

FORMAT = "spikeloom-events"
VERSION = 1

# Events per chunk: enough for compression, and few enough that small samples decode few events of others.
CHUNK_EVENTS = 1 << 15


@dataclass(frozen=True)
class _Readers:
    address: ChunkReader
    time_delta: ChunkReader


def open_events(path: Path | str) -> EventStore:
    """Open an event store, ``CACHE/<name>/events.h5``, or the only one in a folder.

    Its ``read(i)`` returns the `preprocess.Events` of sample i.

    Raises:
        CacheError: If it is missing, damaged or of another format, or a folder contains several.
        CacheMismatchError: If another version of the format wrote it.
    """
    return EventStore(event_store_in(Path(path)))


class EventStore(CacheFile):
    """Samples of events, read one at a time.

    Attributes:
        backwards: Events of each sample that are earlier than their predecessor, int64 (N,); None in stores of versions
            that did not count them.
    """

    FORMAT: ClassVar[str] = FORMAT
    VERSION: ClassVar[int] = VERSION
    KIND: ClassVar[str] = "an event store"

    def _read_description(self, file: h5py.File) -> None:
        super()._read_description(file)
        for name in ("source", "layout_digest"):
            self._attribute(name, str)
        if (message := misfit(json.loads(self._attribute("notes", str)), dict[str, int], "notes")) is not None:
            raise ValueError(message)
        events = file["events"]
        self._jump_at: NDArray[np.int64] = read_column(events, "jump_at")
        # The kernel that adds them reads both columns side by side.
        self._jump_us: NDArray[np.int64] = read_integers(events, "jump_us", len(self._jump_at))
        self._jump_at = read_integers(events, "jump_at", len(self._jump_at))
        self.backwards: NDArray[np.int64] | None = None
        if "backwards_sha256" in self.attributes:
            self.backwards = read_integers(file["samples"], "backwards", len(self.samples))
            if seal_backwards(self.backwards) != self.attributes["backwards_sha256"]:
                raise ValueError("/samples/backwards does not match its seal (backwards_sha256)")
        for name in ("address", "time_delta"):
            check_stored(events[name], (int(self.samples.offset[-1]),), "u", (None,))
        if events["time_delta"].dtype != np.uint32:
            raise ValueError(f"/events/time_delta has type {events['time_delta'].dtype}")

    def _readers(self, file: h5py.File) -> _Readers:
        return _Readers(ChunkReader(file["events/address"]), ChunkReader(file["events/time_delta"]))

    @property
    def is_sorted(self) -> bool:
        """Whether the events were sorted by time when the store was made."""
        return bool(self.attributes.get("sorted", False))

    @property
    def out_of_order(self) -> dict[str, int] | None:
        """Number of samples with events earlier than their predecessor, and of such events; None if not counted."""
        if self.backwards is None:
            return None
        return {"samples": int(np.count_nonzero(self.backwards)), "events": int(self.backwards.sum())}

    def addresses(self, i: int) -> NDArray[Any]:
        """Sample i's linear addresses, unsigned, shape (n,), in recording order.

        Raises:
            CacheError: If a byte of it changed since it was written.
        """
        self._check_number(i)
        return self.addresses_of(range(i, i + 1))

    def times(self, i: int) -> NDArray[np.int64]:
        """Sample i's times in µs, int64, shape (n,); raises as `addresses` does."""
        self._check_number(i)
        return self.times_of(range(i, i + 1))

    def addresses_of(self, samples: range) -> NDArray[Any]:
        """The addresses of consecutive samples, one after another: each chunk is read and decompressed once."""
        l, r = self._bounds(samples)
        try:
            return self._handle().address.read_range(l, r)
        except (OSError, ValueError, RuntimeError) as error:
            if len(samples) > 1:
                return np.concatenate([self.addresses(i) for i in samples])  # the damaged one is named
            raise self._damaged(samples.start, error) from None

    def times_of(self, samples: range) -> NDArray[np.int64]:
        """The times of consecutive samples, one after another; as `addresses_of`."""
        from preprocess.store.time_kernels import sum_differences

        l, r = self._bounds(samples)
        try:
            delta = self._handle().time_delta.read_range(l, r)
        except (OSError, ValueError, RuntimeError) as error:
            if len(samples) > 1:
                return np.concatenate([self.times(i) for i in samples])
            raise self._damaged(samples.start, error) from None
        first, last = np.searchsorted(self._jump_at, (l, r))
        t = np.empty(r - l, np.int64)
        sum_differences(
            delta,
            self.samples.offset[samples.start : samples.stop + 1] - l,
            self.samples.start_us[samples.start : samples.stop],
            self._jump_at[first:last] - l,
            self._jump_us[first:last],
            t,
        )
        return t

    def groups(self, events: int, samples: int) -> list[range]:
        """Groups of consecutive samples within both limits; a sample with more events is a group of its own."""
        found: list[range] = []
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.samples.offset, self.samples.offset[first] + events, "right")) - 1
            last = min(max(first + 1, last), first + samples)
            found.append(range(first, last))
            first = last
        return found

    def addresses_and_times(self, i: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Sample i's addresses and times."""
        return self.addresses(i), self.times(i)

    def read(self, i: int) -> Events:
        """Sample i's events in recording order.

        Raises:
            CacheError: If a byte of them changed since they were written, or one is outside the sensor.
        """
        address, t = self.addresses_and_times(i)
        self._check_addresses(i, address)
        return Events.from_address(address, t, self.height, self.width)

    def _check_addresses(self, i: int, address: NDArray[Any]) -> None:
        if int(address.max()) >= 2 * self.height * self.width:
            raise self._damaged(i, ValueError("an address is outside the sensor"))

    def _bounds(self, samples: range) -> tuple[int, int]:
        return int(self.samples.offset[samples.start]), int(self.samples.offset[samples.stop])

    def _check_number(self, i: int) -> None:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: expected a sample number below {len(self)}, found {i}")

    def check_sample(self, i: int) -> NDArray[np.int64]:
        """Check sample i's events against their checksum and the sensor size; returns its times in µs, int64 (n,).

        Raises:
            CacheError: If they differ.
        """
        address, t = self.addresses_and_times(i)
        if events_crc32(address, t) != self.samples.crc32[i]:
            raise self._damaged(i, ValueError("its events do not match their crc32"))
        self._check_addresses(i, address)
        return t


def events_crc32(address: NDArray[Any], t: NDArray[np.int64]) -> int:
    """Return the checksum of the events of a sample: crc32 of the crc32s of addresses and times."""
    return join_crc32(zlib.crc32(np.ascontiguousarray(address).data), zlib.crc32(np.ascontiguousarray(t).data))


def seal_backwards(backwards: NDArray[np.int64]) -> str:
    """Return the seal of ``/samples/backwards``, 64 hexadecimal digits."""
    return hashlib.sha256(backwards.astype("<i8").tobytes()).hexdigest()


def join_crc32(address_crc: int, time_crc: int) -> int:
    """Combine two checksums, which are separate so that they can be updated chunk by chunk."""
    return zlib.crc32(address_crc.to_bytes(4, "little") + time_crc.to_bytes(4, "little"))


def time_deltas(
    t: NDArray[np.int64], previous: int | None
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Return differences modulo 2^32, and the jumps that these do not represent.

    Args:
        t: Times in µs, int64, shape (n,), n >= 1.
        previous: The time of the previous event in the same sample; None for the first event of a sample.

    Returns:
        Differences uint32 (n,); indices of jumps and what to add to each, int64 (j,) both.
    """
    step = np.diff(t, prepend=t[0] if previous is None else previous)
    delta = step.astype(np.uint32)  # modulo 2^32
    lacking = step - delta.view(np.int32)
    at = np.flatnonzero(lacking)
    return delta, at, lacking[at]
