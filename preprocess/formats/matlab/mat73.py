"""MATLAB ``.mat`` of version 7.3: an HDF5 file behind 512 bytes of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import h5py

from preprocess.formats.column_names import match_names
from preprocess.formats.column_recording import Columns
from preprocess.formats.hdf5.hdf5_recording import Hdf5Recording, open_hdf5
from preprocess.formats.matlab.orchard_struct import ORCHARD_STRUCT, from_orchard
from preprocess.formats.read_options import NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size


@dataclass(frozen=True)
class Mat73Recording(Hdf5Recording):
    """Variables of a MATLAB file of version 7.3, found as the data sets of other HDF5 files."""

    NAME: ClassVar[str] = "mat73"
    TITLE: ClassVar[str] = "MATLAB 7.3 .mat"
    SUFFIX: ClassVar[str] = ".mat"
    OTHER_SUFFIXES: ClassVar[tuple[str, ...]] = ()
    MAGIC: ClassVar[bytes] = b"MATLAB 7.3 MAT-file"

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> Hdf5Recording:
        """As for other HDF5 files; beside an ATIS's changes (TD), its exposure measurements (EM) are not read."""
        if options.hdf5_path is None:
            with open_hdf5(path) as file:
                item = file.get(ORCHARD_STRUCT)
                if isinstance(item, h5py.Group) and match_names(list(item)) is not None:
                    options = dataclasses.replace(options, hdf5_path=ORCHARD_STRUCT)
        return super().open(path, size, options)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        if self.found.place == ORCHARD_STRUCT:
            return from_orchard(self.path, super()._blocks)
        return super()._blocks()
