"""Prophesee ``.dat``: events of 8 bytes after two bytes with their type and size.

The decoding loop is in `dat_kernels.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from preprocess.errors import RecordingError
from preprocess.formats.prophesee.prophesee_recording import PropheseeRecording
from preprocess.formats.recording import Size


@dataclass(frozen=True)
class DatRecording(PropheseeRecording):
    """``.dat``: two bytes with the type and size of events, then events of 8 bytes."""

    NAME: ClassVar[str] = "dat"
    TITLE: ClassVar[str] = "Prophesee .dat"
    SUFFIX: ClassVar[str] = ".dat"
    ENCODING: ClassVar[str] = "dat"
    EVENT_BYTES: ClassVar[int] = 8
    USUAL_SIZE: ClassVar[Size | None] = (240, 304)
    WORD = np.uint32
    KERNEL: ClassVar[str] = "preprocess.formats.prophesee.dat_kernels.decode_dat"

    @classmethod
    def _skip(cls, path: Path, start: int, end: int) -> int:
        with path.open("rb") as file:
            file.seek(start)
            kind = file.read(2)
        # Type 0 are events of the first sensors, type 12 those of all later ones.
        if len(kind) < 2 or kind[0] not in (0, 12) or kind[1] != cls.EVENT_BYTES:
            raise RecordingError(
                f"{path}: expected events of type 0 or 12 and of 8 bytes, found {tuple(kind)} at byte {start}. The "
                "file is damaged or contains other events; copy it again or leave it out."
            )
        return start + 2
