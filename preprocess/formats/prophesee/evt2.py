"""Prophesee EVT 2.0 (``.raw``): 32-bit words, each an event or the upper 28 bits of the time.

The decoding loop is in `evt2_kernels.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from preprocess.formats.prophesee.prophesee_recording import PropheseeRecording


@dataclass(frozen=True)
class Evt2Recording(PropheseeRecording):
    """EVT 2.0: 32-bit words, each an event or the upper bits of the time."""

    NAME: ClassVar[str] = "evt2"
    TITLE: ClassVar[str] = "Prophesee EVT 2.0"
    SUFFIX: ClassVar[str] = ".raw"
    ENCODING: ClassVar[str] = "2.0"
    EVENT_BYTES: ClassVar[int] = 4
    WORD = np.uint32
    KERNEL: ClassVar[str] = "preprocess.formats.prophesee.evt2_kernels.decode_evt2"
