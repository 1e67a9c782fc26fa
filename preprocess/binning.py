"""Binning: which events of a sample fall into which frame.

Frames are index ranges [l_i, r_i) of a sample's events. `number` and `time` are bit-exact with SpikingJelly 2.0
wherever it returns a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from preprocess.errors import ConfigError

SplitBy = Literal["number", "time"]


@dataclass(frozen=True)
class Binning:
    """How a sample becomes frames."""

    timesteps: int = 10
    """T, the number of frames of a sample."""
    split_by: SplitBy = "number"
    """number: equally many events a frame; time: equally long frames."""
    downsample: int = 1
    """Sum k x k blocks of pixels."""

    def faults(self) -> Iterator[str]:
        if self.timesteps < 1:
            yield f"binning.timesteps: expected at least 1, found {self.timesteps}"
        if self.downsample < 1:
            yield f"binning.downsample: expected at least 1, found {self.downsample}"

    def check(self) -> None:
        """Raise a ConfigError with every fault."""
        faults = list(self.faults())
        if faults:
            raise ConfigError(*faults)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frames of a sensor's events: ceil(H / k), ceil(W / k)."""
        return -(-height // self.downsample), -(-width // self.downsample)

    def key(self, height: int, width: int) -> str:
        """The readable name of the frame cache, such as ``number-T20-128x128``."""
        rows, columns = self.size(height, width)
        return f"{self.split_by}-T{self.timesteps}-{rows}x{columns}"
