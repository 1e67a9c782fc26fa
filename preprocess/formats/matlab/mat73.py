"""MATLAB ``.mat`` of version 7.3: an HDF5 file behind 512 bytes of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from preprocess.formats.column_recording import Columns
from preprocess.formats.hdf5.hdf5_recording import Hdf5Recording
from preprocess.formats.matlab.orchard_struct import ORCHARD_STRUCT, from_orchard


@dataclass(frozen=True)
class Mat73Recording(Hdf5Recording):
    """Variables of a MATLAB file of version 7.3, found as the data sets of other HDF5 files."""

    NAME: ClassVar[str] = "mat73"
    TITLE: ClassVar[str] = "MATLAB 7.3 .mat"
    SUFFIX: ClassVar[str] = ".mat"
    OTHER_SUFFIXES: ClassVar[tuple[str, ...]] = ()
    MAGIC: ClassVar[bytes] = b"MATLAB 7.3 MAT-file"

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        if self.found.place == ORCHARD_STRUCT:
            return from_orchard(self.path, super()._blocks)
        return super()._blocks()
