"""MATLAB ``.mat`` up to version 7: vectors of t, x, y and p, a struct of them, or a table of four columns.

ASL-DVS is of such files. The columns are read as a whole, so a file needs as much memory as they do.
Source: Bi et al., Graph-Based Object Classification for Neuromorphic Vision Sensing, 2019 (ASL-DVS: ts in µs, x, y,
pol)
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.formats.column_names import TABLE_NAMES, match_names, no_events
from preprocess.formats.column_recording import ColumnRecording, Columns
from preprocess.formats.matlab.bounded_bytes import DamagedMatFile
from preprocess.formats.matlab.mat4_variables import Mat4Variables, is_version4
from preprocess.formats.matlab.mat5_variables import Mat5Variables
from preprocess.formats.matlab.mat_variables import MatVariable, MatVariables
from preprocess.formats.matlab.orchard_struct import ORCHARD_STRUCT, from_orchard
from preprocess.formats.read_options import COLUMNS, NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size, file_size, unreadable

_EVENTS_A_CHUNK = 1 << 17


@dataclass(frozen=True)
class MatRecording(ColumnRecording):
    """Variables of a MATLAB file.

    Attributes:
        columns: Names of the variables, or of the fields of a struct, by letter; that of one table for all.
        struct: Name of the struct; empty without one.
    """

    NAME: ClassVar[str] = "mat"
    TITLE: ClassVar[str] = "MATLAB .mat"
    SUFFIX: ClassVar[str] = ".mat"
    MAGIC: ClassVar[bytes] = b"MATLAB 5.0 MAT-file"

    columns: Mapping[str, str] = field(default_factory=dict)
    struct: str = ""

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether it is a file of version 5 or 4."""
        return super().recognises(head) or is_version4(head)

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> MatRecording:
        """List the variables.

        Raises:
            RecordingError: If the file cannot be read, is damaged, or its variables are not events.
        """
        end = file_size(path)
        with _variables(path, end) as file:
            listed = file.list_all()
            variables = {name: found.shape for name, found in listed.items() if found.is_numbers}
            vectors = [name for name, shape in variables.items() if len(shape) == 2 and min(shape) <= 1]
            found = match_names(vectors)
            in_struct = _find_struct(file, listed) if found is None else None
        ordered = found is not None or options.columns is not None
        if in_struct is not None:
            name, fields, lengths = in_struct
            if len(set(lengths.values())) > 1:
                raise _unequal(f"{path}: expected columns of equal length in {name}", lengths)
            return cls(path, 1, 1, 0, end, options=options, columns=fields, struct=name)._sized(size, True)
        if found is None:
            tables = [name for name, shape in variables.items() if len(shape) == 2 and shape[1] == len(COLUMNS)]
            tables = tables if len(tables) == 1 else [name for name in tables if name.lower() in TABLE_NAMES]
            if len(tables) != 1:
                raise _other_variables(path, listed)
            found = dict.fromkeys(COLUMNS, tables[0])
        lengths = {
            name: math.prod(variables[name]) if name in vectors else variables[name][0] for name in found.values()
        }
        if len(set(lengths.values())) > 1:
            raise _unequal(f"{path}: expected columns of equal length", lengths)
        return cls(path, 1, 1, 0, end, options=options, columns=found)._sized(size, ordered)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        columns = self._read()
        if self.struct == ORCHARD_STRUCT:
            return from_orchard(self.path, lambda: _in_blocks(columns))
        return _in_blocks(columns)

    def _read(self) -> dict[str, NDArray[Any]]:
        names = sorted(set(self.columns.values()))
        with _variables(self.path, self.size) as file:
            listed = file.list_all()
            if not self.struct:
                arrays = {name: file.read(listed[name]) for name in names if name in listed}
            else:
                arrays = file.read_fields(listed[self.struct], names) if self.struct in listed else {}
        missing = [name for name in names if name not in arrays]
        if missing:
            raise no_events(self.path, f"a damaged file without {', '.join(missing)}")
        if len(arrays) == 1:
            (table,) = arrays.values()
            return {letter: table[:, k] for k, letter in enumerate(self.options.columns or COLUMNS)}
        return {letter: arrays[name].reshape(-1) for letter, name in self.columns.items()}


def _in_blocks(columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Columns, int]]:
    for start in range(0, len(columns["t"]), _EVENTS_A_CHUNK):
        yield {letter: values[start : start + _EVENTS_A_CHUNK] for letter, values in columns.items()}, 0


def _unequal(expected: str, lengths: Mapping[str, int]) -> RecordingError:
    found = ", ".join(f"{name}: {n:,}" for name, n in lengths.items())
    return RecordingError(f"{expected}, found {found}. The file is incomplete; copy or write it again.")


def _find_struct(
    file: MatVariables, listed: Mapping[str, MatVariable]
) -> tuple[str, dict[str, str], dict[str, int]] | None:
    """The only struct with events: its name, its fields by letter and their lengths."""
    found = []
    for name, variable in listed.items():
        fields = {field: each.shape for field, each in file.list_fields(variable).items() if each.is_numbers}
        vectors = {field: shape for field, shape in fields.items() if len(shape) == 2 and min(shape) <= 1}
        if (letters := match_names(list(vectors))) is not None:
            found.append((name, letters, {field: math.prod(vectors[field]) for field in letters.values()}))
    # Beside the changes (TD), an ATIS has exposure measurements (EM) of the same fields.
    found = [each for each in found if each[0] == ORCHARD_STRUCT] or found
    return found[0] if len(found) == 1 else None


def _other_variables(path: Path, listed: Mapping[str, MatVariable]) -> RecordingError:
    shown = [
        name if found.is_numbers else f"{name} ({'complex ' if found.is_complex else ''}{found.kind})"
        for name, found in sorted(listed.items())
    ]
    return RecordingError(
        f"{path}: expected events with the variables t, x, y and p, found the variables "
        f"{', '.join(shown[:8]) or 'none'}. Save the columns as four variables with MATLAB's save, or copy it again."
    )


@contextlib.contextmanager
def _variables(path: Path, size: int) -> Iterator[MatVariables]:
    """The variables of a file, while it is open; damage and what the operating system reports become errors."""
    try:
        with path.open("rb") as file:
            # The text of version 5 has no zero among its first bytes, and the type of version 4 always has.
            yield Mat4Variables(file, size) if b"\0" in file.read(4) else Mat5Variables(file, size)
    except OSError as error:
        raise unreadable(path, error) from None
    except DamagedMatFile as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: DamagedMatFile) -> RecordingError:
    return RecordingError(f"{path}: expected a MATLAB file, found a damaged one ({error}). Copy it again.")
