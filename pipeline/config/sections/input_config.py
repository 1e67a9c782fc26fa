"""The section `input`: what a network sees of the frames, with the default of each field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TimeOrder = Literal["as-is", "shuffled", "reversed", "one-frame"]


@dataclass(frozen=True)
class InputConfig:
    """How frames are read and what the network sees of them."""

    source: Literal["cache", "events"] = "cache"
    """cache: read frames from a frame cache, which is built if it is missing. events: bin each batch from the event
    store, without a frame cache. Both give identical frames."""
    size: int | None = None
    """Resize frames to this height and width in pixels (default: the size of the frames)."""
    resize: Literal["bilinear", "bilinear-antialias", "nearest"] = "bilinear"
    """Interpolation used by input.size."""
    encoding: Literal["counts", "binary", "pil-la", "direct"] = "counts"
    """counts: number of events per pixel, unscaled. binary: 1 where there is any event. pil-la: as in the CLIF authors'
    CIFAR10-DVS loader. direct: static images, normalised, the same at each of binning.timesteps time steps."""
    polarity: Literal["split", "merged", "on", "off"] = "split"
    """Channels of a frame. split: two, OFF and ON events. merged: one, the events of both. on, off: one, the events of
    one polarity; the others are ignored."""
    time_order: TimeOrder = "as-is"
    """Control experiment on temporal order, applied to training, validation and test samples. shuffled: the time steps
    of each sample in random order, redrawn every training epoch. reversed: backwards. one-frame: only the frame with
    the most events; all others are empty."""

    @property
    def channels(self) -> int:
        """Number of channels of a frame as the network sees it."""
        if self.static:
            return 3
        return 2 if self.polarity == "split" else 1

    @property
    def static(self) -> bool:
        """Whether the input is the same at each time step, as that of images is."""
        return self.encoding == "direct"

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range or that the encoding excludes."""
        if self.size is not None and self.size < 1:
            yield f"input.size: expected at least 1 pixel, found {self.size}"
        if self.encoding == "pil-la" and self.polarity != "split":
            found = f"found {self.polarity}. Use input.encoding counts or binary"
            yield f"input.polarity: expected split with input.encoding pil-la, whose images have both, {found}"
        if self.static:
            for name in ("source", "polarity", "time_order"):
                value, default = getattr(self, name), getattr(InputConfig, name)
                if value != default:
                    yield f"input.{name}: expected {default} with input.encoding direct, for images, found {value}"
