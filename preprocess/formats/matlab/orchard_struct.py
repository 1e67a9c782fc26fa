"""The struct ``TD`` of Garrick Orchard's MATLAB functions: rows and columns from 1, polarities 1 and 2, or 0 and 1.

``Read_Ndataset``, which is published with N-MNIST and N-Caltech101, returns TD.x and TD.y from 1, TD.p as 1 (OFF) and 2
(ON), and TD.ts in µs; the functions for the ATIS count pixels in the same way, with polarities 0 and 1. Events whose
polarities are all 1 are therefore ambiguous; they are read as ON.
Source: https://www.garrickorchard.com/datasets/n-mnist and https://github.com/gorchard/Matlab_AER_vision_functions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from preprocess.errors import RecordingError
from preprocess.formats.column_recording import Columns

ORCHARD_STRUCT = "TD"

OFF_ON = (1, 2)
"""The polarities of `Read_Ndataset`."""


def from_orchard(path: Path, blocks: Callable[[], Iterator[tuple[Columns, int]]]) -> Iterator[tuple[Columns, int]]:
    """Blocks of events with pixels from 0 and polarities 0 and 1.

    Args:
        path: The file.
        blocks: Returns its blocks of events as they are; called twice.

    Raises:
        RecordingError: If a pixel is not counted from 1.
    """
    of_polarities = [(columns["p"].min(), columns["p"].max()) for columns, _ in blocks()]
    from_1 = bool(of_polarities) and min(of_polarities)[0] >= 1 and max(high for _, high in of_polarities) == OFF_ON[1]
    seen = 0
    for columns, position in blocks():
        for letter in "xy":
            below = columns[letter] < 1
            if below.any():
                k = int(np.argmax(below))
                raise RecordingError(
                    f"{path}: expected rows and columns from 1 in the struct {ORCHARD_STRUCT}, as Orchard's functions "
                    f"make it, found {letter} = {columns[letter][k]} in event {seen + k}. Save x and y from 1, or the "
                    "columns as four variables."
                )
        seen += len(columns["t"])
        one = np.int64(1)
        polarities = columns["p"] - one if from_1 else columns["p"]
        yield {**columns, "x": columns["x"] - one, "y": columns["y"] - one, "p": polarities}, position
