"""Binning: the configuration of how a sample is divided into frames, and the counting of its events."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.binning import rules
from preprocess.errors import ConfigError, RecordingError
from preprocess.events import Events

SplitBy = Literal[
    "number", "time", "duration", "time_window", "event_count", "n_time_bins", "n_event_bins", "fixed_window"
]

# The fields that each rule uses besides split_by and downsample; it ignores the others.
_FIELDS: dict[str, tuple[str, ...]] = {
    "number": ("timesteps",),
    "time": ("timesteps",),
    "duration": ("duration_us",),
    "time_window": ("duration_us", "overlap", "include_incomplete"),
    "event_count": ("event_count", "overlap", "include_incomplete"),
    "n_time_bins": ("timesteps",),
    "n_event_bins": ("timesteps",),
    "fixed_window": ("timesteps", "duration_us", "start_us"),
}


@dataclass(frozen=True)
class Binning:
    """How a sample is divided into frames."""

    timesteps: int = 10
    """T, the number of frames of a sample, unless the rule determines it."""
    split_by: SplitBy = "number"
    """number, n_event_bins: frames with equal numbers of events; time, n_time_bins: frames of equal duration;
    fixed_window: T frames of duration_us; duration, time_window, event_count: as many frames as the sample fills."""
    downsample: int = 1
    """Spatial downsampling factor k: sum the events of k x k pixels."""
    duration_us: int | None = None
    """Duration of a frame in us, for duration, time_window and fixed_window."""
    event_count: int | None = None
    """Number of events per frame, for event_count."""
    overlap: int = 0
    """Overlap between consecutive frames, in us (time_window) or events (event_count)."""
    include_incomplete: bool = False
    """Keep an incomplete last frame, for time_window and event_count."""
    start_us: int = 0
    """Start of the first frame in us after the first event, for fixed_window."""

    def errors(self) -> Iterator[str]:
        """Errors of the fields, one line each."""
        if self.timesteps < 1:
            yield f"binning.timesteps: expected at least 1, found {self.timesteps}"
        if self.downsample < 1:
            yield f"binning.downsample: expected at least 1, found {self.downsample}"
        reads = _FIELDS[self.split_by]
        for name, what in (("duration_us", "the duration of a frame in us"), ("event_count", "the events per frame")):
            value = getattr(self, name)
            if name in reads and value is None:
                yield f"binning.{name}: expected {what} for split_by {self.split_by}, found none"
            elif value is not None and value < 1:
                yield f"binning.{name}: expected at least 1, found {value}"
        size = self.duration_us if "duration_us" in reads else self.event_count
        if "overlap" in reads and size is not None and not 0 <= self.overlap < max(1, size):
            yield f"binning.overlap: expected 0 to less than a frame ({size}), found {self.overlap}"
        if self.start_us < 0:
            yield f"binning.start_us: expected at least 0, found {self.start_us}"

    def check(self) -> None:
        """Raise a ConfigError with all errors."""
        errors = list(self.errors())
        if errors:
            raise ConfigError(*errors)

    @property
    def varies(self) -> bool:
        """Whether samples have different numbers of frames, so that shorter ones are padded."""
        return "timesteps" not in _FIELDS[self.split_by]

    @property
    def drops(self) -> bool:
        """Whether even sorted events may be in no frame: tonic's rules leave out what does not fill a frame."""
        return self.split_by not in ("number", "time", "duration")

    @property
    def needs_times(self) -> bool:
        """Whether the frames depend on the times of the events, not only on their number."""
        return self.split_by not in ("number", "event_count", "n_event_bins")

    def plain(self) -> Binning:
        """The same binning with every field that its rule does not use at its default."""
        reads = {name: getattr(self, name) for name in _FIELDS[self.split_by]}
        return Binning(split_by=self.split_by, downsample=self.downsample, **reads)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frames of a sensor's events: ceil(H / k), ceil(W / k)."""
        return -(-height // self.downsample), -(-width // self.downsample)

    @property
    def steps_title(self) -> str:
        """For tables: ``T = 20``, or the rule if T varies, such as ``T by duration-10000us``."""
        return f"T by {self._rule()}" if self.varies else f"T = {self.timesteps}"

    def key(self, height: int, width: int) -> str:
        """The readable name of the frame cache, such as ``number-T20-128x128`` or ``duration-10000us-128x128``."""
        rows, columns = self.size(height, width)
        return f"{self._rule()}-{rows}x{columns}"

    def _rule(self) -> str:
        plain = self.plain()
        parts: list[str] = [self.split_by]
        if not self.varies:
            parts.append(f"T{self.timesteps}")
        if plain.duration_us is not None:
            parts.append(f"{self.duration_us}us")
        if plain.event_count is not None:
            parts.append(str(self.event_count))
        if plain.overlap:
            parts.append(f"overlap{self.overlap}")
        if plain.include_incomplete:
            parts.append("incomplete")
        if plain.start_us:
            parts.append(f"from{self.start_us}us")
        return "-".join(parts)

    def to_attributes(self) -> dict[str, Any]:
        """The fields that the rule uses, as plain values for the attributes of a cache."""
        fields = ("split_by", "downsample", *_FIELDS[self.split_by])
        return {name: getattr(self, name) for name in fields}

    @staticmethod
    def from_attributes(attributes: dict[str, Any]) -> Binning:
        """The inverse of `to_attributes`, among any other attributes."""
        names = {field.name for field in dataclasses.fields(Binning)}
        return Binning(**{name: value for name, value in attributes.items() if name in names})


def bin_ranges(t: NDArray[np.int64], binning: Binning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index ranges [l_i, r_i) of the events of each frame, by `preprocess.binning.rules`.

    Args:
        t: Times in µs in recording order, int64, shape (N,); N >= 1. Only its length is used if the rule does not
            need times.
        binning: Its downsampling is not used here.

    Returns:
        l and r, int64, shape (F,); F is T if the binning does not vary.

    Raises:
        RecordingError: If there is no event.
    """
    if len(t) == 0:
        raise RecordingError("binning: expected at least one event, found none. Leave the empty sample out.")
    n, timesteps = len(t), binning.timesteps
    match binning.split_by:
        case "number":
            return rules.by_number(n, timesteps)
        case "time":
            return rules.by_time(t, timesteps)
        case "duration":
            return rules.by_duration(t, _given(binning.duration_us))
        case "time_window":
            window = _given(binning.duration_us)
            return rules.by_time_window(t, window, binning.overlap, binning.include_incomplete)
        case "event_count":
            count = _given(binning.event_count)
            return rules.by_event_count(n, count, binning.overlap, binning.include_incomplete)
        case "n_time_bins":
            return rules.by_time_bins(t, timesteps)
        case "n_event_bins":
            return rules.by_event_bins(n, timesteps)
        case "fixed_window":
            return rules.by_fixed_window(t, timesteps, _given(binning.duration_us), binning.start_us)


def _given(value: int | None) -> int:
    if value is None:
        raise ValueError("expected every field of the rule of the binning, found None; call check() first")
    return value


def bin_events(events: Events, binning: Binning) -> NDArray[Any]:
    """Count events per pixel and polarity in frames.

    Args:
        events: One sample, N >= 1 events in recording order.
        binning: The rule; downsampling k sums x // k, y // k.

    Returns:
        Counts in the smallest unsigned type that fits the largest, shape (F, 2, ceil(H/k), ceil(W/k)); channel 1 is
        ON. F is T if the binning does not vary.

    Raises:
        RecordingError: If there is no event, or one is outside the sensor.
    """
    return bin_addresses(events.address(), events.t, binning, events.height, events.width)


def bin_addresses(
    address: NDArray[Any], t: NDArray[np.int64] | None, binning: Binning, height: int, width: int
) -> NDArray[Any]:
    """As `bin_events`, for linear addresses ``(p*H + y)*W + x`` as in the event store.

    Args:
        address: Any unsigned type, shape (N,).
        t: int64, shape (N,); may be None if the binning needs no times.
        binning: The rule.
        height: Sensor rows H.
        width: Sensor columns W.
    """
    l, r = _ranges(len(address), t, binning)
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        frames: NDArray[Any] = np.zeros((len(l), 2, *binning.size(height, width)), dtype)
        # The first type that fits all counts is the smallest; counting again is rare and cheap.
        if _count(address, l, r, binning, height, width, frames):
            break
    return frames


def bin_addresses_into(
    frames: NDArray[Any], address: NDArray[Any], t: NDArray[np.int64] | None, binning: Binning, height: int, width: int
) -> int:
    """As `bin_addresses`, into given frames; returns the number of frames of the sample. Further frames are zero.

    Args:
        frames: Any unsigned type, contiguous, shape (>= F, 2, ceil(H/k), ceil(W/k)); overwritten.

    Raises:
        RecordingError: As `bin_addresses`, and if a count or the sample does not fit into the frames.
    """
    l, r = _ranges(len(address), t, binning)
    if len(l) > len(frames):
        raise RecordingError(f"binning: expected at most {len(frames)} frames, found {len(l)}. Bin the data set again.")
    frames[...] = 0
    if not _count(address, l, r, binning, height, width, frames[: len(l)]):
        raise RecordingError(
            f"binning: expected counts that fit into {frames.dtype}, found larger ones. Bin the data set again."
        )
    return len(l)


def _ranges(events: int, t: NDArray[np.int64] | None, binning: Binning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if t is None:
        if binning.needs_times:
            raise ValueError(f"expected times, because split_by {binning.split_by} needs them, found None")
        t = np.broadcast_to(np.int64(0), events)
    return bin_ranges(t, binning)


def _count(
    address: NDArray[Any],
    l: NDArray[np.int64],
    r: NDArray[np.int64],
    binning: Binning,
    height: int,
    width: int,
    frames: NDArray[Any],
) -> bool:
    """Count every event in its frames, which are zero before; False if a count does not fit into their type."""
    from preprocess.binning.counting_kernels import count_events

    limit = 2 * height * width
    if int(address.max()) >= limit:
        raise RecordingError(f"binning: expected addresses below {limit}, found {int(address.max())}. Decode it again.")
    if binning.downsample > 1:
        address = _downsampled(height, width, binning.downsample)[address]
    largest = min(np.iinfo(frames.dtype).max, np.iinfo(np.int64).max)
    return bool(count_events(address, l, r, frames.reshape(len(frames), -1), largest))


def measure_sample(events: int, t: NDArray[np.int64] | None, binning: Binning) -> tuple[int, int, int]:
    """The number of frames of a sample, of its events in no frame, and of its events in several frames.

    Args:
        events: Number of events.
        t: Their times; may be None if the binning needs no times.
        binning: The rule.
    """
    l, r = _ranges(events, t, binning)
    return len(l), *rules.count_coverage(events, l, r)


@lru_cache(maxsize=8)
def _downsampled(height: int, width: int, k: int) -> NDArray[np.uint32]:
    """The address on the coarse grid of every address on the fine one, uint32 (2*H*W,)."""
    p, y, x = np.ogrid[:2, :height, :width]
    rows, columns = -(-height // k), -(-width // k)
    return ((p * rows + y // k) * columns + x // k).astype(np.uint32).ravel()
