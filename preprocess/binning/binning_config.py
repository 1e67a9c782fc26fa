"""Binning: the configuration of how a sample is divided into frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

from preprocess.binning.frame_ranges import RULES, SplitBy, refuse_to_bin
from preprocess.errors import ConfigError
from preprocess.json_types import misfit


@dataclass(frozen=True)
class Binning:
    """How a sample is divided into frames."""

    timesteps: int = 10
    """T, the number of frames of a sample, unless the rule determines it."""
    split_by: SplitBy = "number"
    """number, n_event_bins: frames with equal numbers of events; time, n_time_bins: frames of equal duration;
    fixed_window: T frames of duration_us; duration, time_window, event_count: as many frames as the sample fills;
    imported, imported_varying: frames that preprocess frames imported, with one T or as many as each sample has."""
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
        if self.split_by not in RULES:
            yield f"binning.split_by: expected one of {', '.join(RULES)}, found '{self.split_by}'"
            return
        reads = RULES[self.split_by].fields
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
        return "timesteps" not in RULES[self.split_by].fields

    @property
    def imported(self) -> bool:
        """Whether the frames were imported, so that it is not known how they were binned."""
        return self.split_by in ("imported", "imported_varying")

    def refuse_imported(self) -> None:
        """Raise a ConfigError if events cannot be binned like this, because the frames were imported."""
        if self.imported:
            refuse_to_bin()

    @property
    def drops(self) -> bool:
        """Whether even sorted events may be in no frame: tonic's rules leave out what does not fill a frame."""
        return RULES[self.split_by].drops

    @property
    def needs_times(self) -> bool:
        """Whether the frames depend on the times of the events, not only on their number."""
        return RULES[self.split_by].needs_times

    def plain(self) -> Binning:
        """The same binning with every field that its rule does not use at its default."""
        reads = {name: getattr(self, name) for name in RULES[self.split_by].fields}
        return Binning(split_by=self.split_by, downsample=self.downsample, **reads)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frames of a sensor's events: ceil(H / k), ceil(W / k)."""
        return -(-height // self.downsample), -(-width // self.downsample)

    @property
    def steps_title(self) -> str:
        """For tables: ``T = 20``, or the rule if T varies, such as ``T by duration-10000us``."""
        if self.varies:
            return "T of the imported frames" if self.imported else f"T by {self.rule_title}"
        return f"T = {self.timesteps}"

    @property
    def rule_title(self) -> str:
        """The rule with its values, such as ``number-T20`` or ``duration-10000us``."""
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
        fields = ("split_by", "downsample", *RULES[self.split_by].fields)
        return {name: getattr(self, name) for name in fields}

    @staticmethod
    def from_attributes(attributes: dict[str, Any]) -> Binning:
        """The inverse of `to_attributes`, among any other attributes.

        Raises:
            ValueError: If a field is impossible.
        """
        hints = get_type_hints(Binning)
        found = {name: value for name, value in attributes.items() if name in hints}
        errors = [message for name in found if (message := misfit(found[name], hints[name], name)) is not None]
        errors = errors or list(Binning(**found).errors())
        if errors:
            raise ValueError(errors[0])
        return Binning(**found)
