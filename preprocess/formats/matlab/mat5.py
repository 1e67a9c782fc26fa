"""MATLAB ``.mat`` up to version 7: vectors of t, x, y and p, or a table of four columns; ASL-DVS is of such files.

SciPy decompresses a variable as a whole, so a file needs as much memory as its variables.
Sources: https://docs.scipy.org/doc/scipy/reference/generated/scipy.io.loadmat.html and Bi et al., Graph-Based Object
Classification for Neuromorphic Vision Sensing, 2019 (ASL-DVS: ts in µs, x, y, pol)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.formats.column_names import TABLE_NAMES, match_names, no_events
from preprocess.formats.column_recording import ColumnRecording, Columns
from preprocess.formats.read_options import COLUMNS, NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size, file_size, unreadable

_EVENTS_A_CHUNK = 1 << 17
_NUMBERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)) | {
    "double",
    "single",
    "logical",
}


@dataclass(frozen=True)
class MatRecording(ColumnRecording):
    """Variables of a MATLAB file; `columns` are their names by letter, or that of one table for all."""

    NAME: ClassVar[str] = "mat"
    TITLE: ClassVar[str] = "MATLAB .mat"
    SUFFIX: ClassVar[str] = ".mat"
    MAGIC: ClassVar[bytes] = b"MATLAB 5.0 MAT-file"

    columns: Mapping[str, str] = field(default_factory=dict)

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
        vectors = [name for name, shape in variables.items() if len(shape) == 2 and min(shape) == 1]
        found = match_names(vectors)
        ordered = found is not None or options.columns is not None
        if found is None:
            tables = [name for name, shape in variables.items() if len(shape) == 2 and shape[1] == len(COLUMNS)]
            tables = tables if len(tables) == 1 else [name for name in tables if name.lower() in TABLE_NAMES]
            if len(tables) != 1:
                raise _other_variables(path, {name: kind for name, _, kind in listed})
            found = dict.fromkeys(COLUMNS, tables[0])
        counts = {max(variables[name]) if name in vectors else variables[name][0] for name in found.values()}
        if len(counts) > 1:
            raise no_events(path, f"columns of {' and '.join(map(str, sorted(counts)))} events")
        return cls(path, 1, 1, 0, end, options=options, columns=found)._sized(size, ordered)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        import scipy.io

        names = sorted(set(self.columns.values()))
        variables = _scipy(self.path, scipy.io.loadmat, variable_names=names)
        missing = [name for name in names if name not in variables]
        if missing:
            raise no_events(self.path, f"a damaged file without {', '.join(missing)}")
        columns = self._in_order({name: variables[name] for name in names})
        count = len(columns["t"])
        for start in range(0, count, _EVENTS_A_CHUNK):
            yield {letter: values[start : start + _EVENTS_A_CHUNK] for letter, values in columns.items()}, 0

    def _in_order(self, variables: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if len(variables) == 1:
            table = next(iter(variables.values()))
            return {letter: table[:, k] for k, letter in enumerate(self.options.columns or COLUMNS)}
        columns = {letter: variables[name].reshape(-1) for letter, name in self.columns.items()}
        if any(values.dtype.kind not in "iufb" for values in columns.values()):
            raise no_events(self.path, "a damaged file with other values than numbers")
        return columns


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
