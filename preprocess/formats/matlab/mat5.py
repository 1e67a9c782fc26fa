"""MATLAB ``.mat`` up to version 7: vectors of t, x, y and p, a struct of them, or a table of four columns.

ASL-DVS is of such files. SciPy reads version 4 and version 5, which 7 only compresses. It decompresses a variable as a
whole, so a file needs as much memory as its variables.
Sources: https://docs.scipy.org/doc/scipy/reference/generated/scipy.io.loadmat.html, MathWorks, MAT-File Format, and Bi
et al., Graph-Based Object Classification for Neuromorphic Vision Sensing, 2019 (ASL-DVS: ts in µs, x, y, pol)
"""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.formats.column_names import TABLE_NAMES, match_names, no_events
from preprocess.formats.column_recording import ColumnRecording, Columns
from preprocess.formats.matlab.orchard_struct import ORCHARD_STRUCT, from_orchard
from preprocess.formats.read_options import COLUMNS, NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size, file_size, unreadable

_EVENTS_A_CHUNK = 1 << 17
_VERSION4_HEADER_BYTES = 20
_NUMBERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)) | {
    "double",
    "single",
    "logical",
}


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
        return super().recognises(head) or _is_version4(head)

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> MatRecording:
        """List the variables.

        Raises:
            RecordingError: If the file cannot be read, is damaged, or its variables are not events.
        """
        import scipy.io

        end = file_size(path)
        listed = _scipy(path, scipy.io.whosmat)
        variables = {name: shape for name, shape, kind in listed if kind in _NUMBERS}
        vectors = [name for name, shape in variables.items() if len(shape) == 2 and min(shape) <= 1]
        found = match_names(vectors)
        ordered = found is not None or options.columns is not None
        structs = [name for name, shape, kind in listed if kind == "struct" and max(shape, default=0) == 1]
        if found is None and (in_struct := _find_struct(path, structs)) is not None:
            name, fields, lengths = in_struct
            if len(set(lengths.values())) > 1:
                raise no_events(path, f"in {name} {_of_lengths(lengths)}")
            return cls(path, 1, 1, 0, end, options=options, columns=fields, struct=name)._sized(size, True)
        if found is None:
            tables = [name for name, shape in variables.items() if len(shape) == 2 and shape[1] == len(COLUMNS)]
            tables = tables if len(tables) == 1 else [name for name in tables if name.lower() in TABLE_NAMES]
            if len(tables) != 1:
                raise _other_variables(path, {name: kind for name, _, kind in listed})
            found = dict.fromkeys(COLUMNS, tables[0])
        lengths = {
            name: math.prod(variables[name]) if name in vectors else variables[name][0] for name in found.values()
        }
        if len(set(lengths.values())) > 1:
            raise no_events(path, _of_lengths(lengths))
        return cls(path, 1, 1, 0, end, options=options, columns=found)._sized(size, ordered)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        columns = self._read()
        if self.struct == ORCHARD_STRUCT:
            return from_orchard(self.path, lambda: _in_blocks(columns))
        return _in_blocks(columns)

    def _read(self) -> dict[str, NDArray[Any]]:
        import scipy.io

        names = sorted(set(self.columns.values()))
        variables = _scipy(self.path, scipy.io.loadmat, variable_names=[self.struct] if self.struct else names)
        if self.struct:
            variables = _fields(variables.get(self.struct))
        missing = [name for name in names if name not in variables]
        if missing:
            raise no_events(self.path, f"a damaged file without {', '.join(missing)}")
        return self._in_order({name: variables[name] for name in names})

    def _in_order(self, variables: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if len(variables) == 1:
            table = next(iter(variables.values()))
            return {letter: table[:, k] for k, letter in enumerate(self.options.columns or COLUMNS)}
        columns = {letter: variables[name].reshape(-1) for letter, name in self.columns.items()}
        if any(values.dtype.kind not in "iufb" for values in columns.values()):
            raise no_events(self.path, "a damaged file with other values than numbers")
        return columns


def _in_blocks(columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Columns, int]]:
    for start in range(0, len(columns["t"]), _EVENTS_A_CHUNK):
        yield {letter: values[start : start + _EVENTS_A_CHUNK] for letter, values in columns.items()}, 0


def _of_lengths(lengths: Mapping[str, int]) -> str:
    return f"columns of unequal length ({', '.join(f'{name}: {n:,}' for name, n in lengths.items())})"


def _find_struct(path: Path, names: Sequence[str]) -> tuple[str, dict[str, str], dict[str, int]] | None:
    """The only struct with events: its name, its fields by letter and their lengths."""
    import scipy.io

    read = _scipy(path, scipy.io.loadmat, variable_names=names) if names else {}
    found = []
    for name in names:
        vectors = {field: values for field, values in _fields(read.get(name)).items() if min(values.shape) <= 1}
        if (letters := match_names(list(vectors))) is not None:
            found.append((name, letters, {field: vectors[field].size for field in letters.values()}))
    # Beside the changes (TD), an ATIS has exposure measurements (EM) of the same fields.
    found = [each for each in found if each[0] == ORCHARD_STRUCT] or found
    return found[0] if len(found) == 1 else None


def _fields(value: Any) -> dict[str, NDArray[Any]]:
    """The fields of a struct of SciPy that are arrays of numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.names is None or value.size != 1:
        return {}
    values = {name: value[name].reshape(-1)[0] for name in value.dtype.names}
    return {n: v for n, v in values.items() if isinstance(v, np.ndarray) and v.ndim == 2 and v.dtype.kind in "iufb"}


def _is_version4(head: bytes) -> bool:
    """Whether the bytes begin like the first variable of a file of version 4, which has no signature.

    Five numbers say its type (numbers of a kind, as a full matrix or text), rows, columns, whether it is complex, and
    the length of its name, which follows.
    """
    for order in "<>":
        if len(head) < _VERSION4_HEADER_BYTES:
            return False
        kind, rows, columns, is_complex, length = struct.unpack_from(f"{order}5i", head)
        machine, precision, layout = kind // 1000, kind // 10 % 10, kind % 10
        if kind // 100 % 10 or machine != "<>".index(order) or precision > 5 or layout > 2 or min(rows, columns) < 0:
            continue
        name = head[_VERSION4_HEADER_BYTES : _VERSION4_HEADER_BYTES + max(length, 0)]
        if is_complex in (0, 1) and 2 <= length <= 64 and re.fullmatch(rb"[A-Za-z]\w*\0+", name):
            return True
    return False


def _other_variables(path: Path, kinds: Mapping[str, str]) -> RecordingError:
    shown = [name if kind in _NUMBERS else f"{name} ({kind})" for name, kind in sorted(kinds.items())]
    return RecordingError(
        f"{path}: expected events with the variables t, x, y and p, found the variables "
        f"{', '.join(shown[:8]) or 'none'}. Save the columns as four variables with MATLAB's save, or copy it again."
    )


def _scipy(path: Path, read: Any, **options: Sequence[str]) -> Any:
    """Call a function of scipy.io; whatever it raises for a damaged file becomes a RecordingError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(str(path), **options)
    except OSError as error:
        if error.errno is not None:
            raise unreadable(path, error) from None
        raise _damaged(path, error) from None
    except Exception as error:  # SciPy raises errors of many kinds for damaged files
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RecordingError:
    reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
    return RecordingError(f"{path}: expected a MATLAB file, found a damaged one ({reason}). Copy it again.")
