"""Prophesee EVT 3.0 (``.raw``): 16-bit words for rows, columns, vectors of columns and parts of the time.

The decoding loop is in `evt3_kernels.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from preprocess.formats.prophesee.prophesee_recording import PropheseeRecording


@dataclass(frozen=True)
class Evt3Recording(PropheseeRecording):
    """EVT 3.0: events as rows, columns and vectors of columns in 16-bit words."""

    NAME: ClassVar[str] = "evt3"
    TITLE: ClassVar[str] = "Prophesee EVT 3.0"
    SUFFIX: ClassVar[str] = ".raw"
    ENCODING: ClassVar[str] = "3.0"
    EVENT_BYTES: ClassVar[int] = 2
    WORD = np.uint16
    KERNEL: ClassVar[str] = "preprocess.formats.prophesee.evt3_kernels.decode_evt3"
