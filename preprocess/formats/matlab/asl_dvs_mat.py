"""ASL-DVS's ``.mat`` files, turned by half a turn as in SpikingJelly: x = 239 - x, y = 179 - y.

There is no agreed orientation: tonic only turns the rows, so its images are those of SpikingJelly in a mirror.
Source: spikingjelly.datasets.asl_dvs and tonic.datasets.asl_dvs
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from preprocess.formats.column_recording import Columns
from preprocess.formats.matlab.mat_recording import MatRecording
from preprocess.formats.read_options import NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size


@dataclass(frozen=True)
class AslDvsMatRecording(MatRecording):
    """A file of ASL-DVS turned as in SpikingJelly; it looks like other MATLAB files, so its format is requested."""

    NAME: ClassVar[str] = "mat-asl-dvs"
    TITLE: ClassVar[str] = "MATLAB .mat of ASL-DVS"

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> MatRecording:
        """As for other MATLAB files; the sensor is a DAVIS240 unless another size is given."""
        return super().open(path, size or (180, 240), options)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        seen = 0
        for columns, position in super()._blocks():
            x, y = self._whole(columns["x"], "x", seen), self._whole(columns["y"], "y", seen)
            yield {**columns, "x": self.width - 1 - x, "y": self.height - 1 - y}, position
            seen += len(y)
