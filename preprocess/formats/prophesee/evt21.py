"""Prophesee EVT 2.1 (``.raw``): 64-bit words, each with up to 32 events of a row, or the upper time bits.

A word has two halves. GenX320 and newer firmware send the lower half first (``endianness=little`` in the header),
IMX636 the upper half (``endianness=legacy``). Headers of older software do not say which; then it is taken in which
all words are of a known type.
The decoding loop is in `evt21_kernels.py`.
Source: https://docs.prophesee.ai/stable/data/encoding_formats/evt21.html
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.prophesee.prophesee_recording import PropheseeRecording
from preprocess.formats.recording import Size

_SEARCHED_BYTES = 1 << 15
_TYPES = np.array([0x0, 0x1, 0x8, 0xA, 0xE, 0xF])


@dataclass(frozen=True)
class Evt21Recording(PropheseeRecording):
    """EVT 2.1: 64-bit words, each a vector of events of one row and polarity, or the upper bits of the time.

    Attributes:
        upper_first: Whether the upper half of a word comes first.
    """

    NAME: ClassVar[str] = "evt21"
    TITLE: ClassVar[str] = "Prophesee EVT 2.1"
    SUFFIX: ClassVar[str] = ".raw"
    VERSION: ClassVar[int] = 1
    ENCODING: ClassVar[str] = "2.1"
    EVENT_BYTES: ClassVar[int] = 8
    WORD = np.uint64
    KERNEL: ClassVar[str] = "preprocess.formats.prophesee.evt21_kernels.decode_evt21"

    upper_first: bool = False

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Evt21Recording:
        """Read the header, and find the order of the halves; RecordingError as for the other encodings."""
        opened = super().open(path, size)
        stated = next((f[1] for line in opened.header if (f := re.search(r"endianness[=\s]+(\w+)", line))), None)
        return dataclasses.replace(opened, upper_first=_upper_first(opened) if stated is None else stated == "legacy")

    def _words(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        words = data.view(np.uint64)
        return words << np.uint64(32) | words >> np.uint64(32) if self.upper_first else words


def _upper_first(recording: PropheseeRecording) -> bool:
    """Whether more of the first words are of a known type, or of the time, when their upper half comes first.

    If both orders have as many, as in files of two words, the one in which the first word is of the time.
    """
    with recording.path.open("rb") as file:
        file.seek(recording.start)
        data = file.read(_SEARCHED_BYTES)
    halves = np.frombuffer(data[: len(data) // 8 * 8], np.uint32).reshape(-1, 2)
    kinds = [halves[:, k] >> 28 for k in (0, 1)]
    first, second = (
        (int(np.isin(kind, _TYPES).sum()), int((kind == 0x8).sum()), bool((kind[:1] == 0x8).any())) for kind in kinds
    )
    return first > second
