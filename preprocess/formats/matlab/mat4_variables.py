"""The variables of a MATLAB file of version 4: matrices of real or complex numbers, one after the other.

Each begins with five numbers i32: its type as decimal digits (byte order, 0, type of the numbers, full matrix or text
or sparse matrix), rows, columns, whether it is complex, and the length of its name with the zero at its end. The name
and the numbers follow, without a signature or a check.
Source: MathWorks, MAT-File Format
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.matlab.bounded_bytes import BoundedBytes, DamagedMatFile, Stored
from preprocess.formats.matlab.mat_variables import (
    LONGEST_NAME,
    MatVariable,
    MatVariables,
    as_array,
    checked_shape,
)

HEADER_BYTES = 20
_DTYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
_KINDS = ("double", "char", "sparse")


class _Header(NamedTuple):
    kind: str
    dtype: np.dtype[Any]
    rows: int
    columns: int
    is_complex: bool
    name_bytes: int


class Mat4Variables(MatVariables):
    """The variables of a file of version 4.

    Args:
        file: The open file.
        size: Its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def list_all(self) -> dict[str, MatVariable]:
        """All variables by their names, without reading their numbers."""
        found: dict[str, MatVariable] = {}
        position = 0
        while position < self._size:
            variable, dtype, data = self._head(position)
            found.setdefault(variable.name, variable)
            # A complex sparse matrix has its imaginary part as one more column, which its shape counts.
            parts = 2 if variable.is_complex and variable.kind != "sparse" else 1
            data.skip(math.prod(variable.shape) * dtype.itemsize * parts)
            position = self._size - data.left
        return found

    def read(self, variable: MatVariable) -> NDArray[Any]:
        """Return the numbers of a variable that is an array of numbers."""
        variable, dtype, data = self._head(variable.position)
        if not variable.is_numbers:
            raise DamagedMatFile(f"{variable.kind} instead of real numbers at byte {variable.position}")
        return as_array(data.take(math.prod(variable.shape) * dtype.itemsize), dtype, variable.shape)

    def _head(self, position: int) -> tuple[MatVariable, np.dtype[Any], BoundedBytes]:
        """What the header at a byte says, the type of the numbers, and the rest of the file, which begins with them."""
        self._file.seek(position)
        data = BoundedBytes(Stored(self._file), self._size - position)
        header = data.take(HEADER_BYTES)
        if (fields := _parse(header)) is None:
            raise DamagedMatFile(f"at byte {position} bytes that no variable of version 4 begins with")
        name = data.take(fields.name_bytes).rstrip(b"\0").decode("latin-1")
        shape = checked_shape((fields.rows, fields.columns))
        return MatVariable(name, fields.kind, shape, fields.is_complex, position), fields.dtype, data


def is_version4(head: bytes) -> bool:
    """Whether the bytes begin like the first variable of a file of version 4, which has no signature."""
    fields = _parse(head[:HEADER_BYTES])
    if fields is None or min(fields.rows, fields.columns) < 0 or not 2 <= fields.name_bytes <= 64:
        return False
    name = head[HEADER_BYTES : HEADER_BYTES + fields.name_bytes]
    return re.fullmatch(rb"[A-Za-z]\w*\0+", name) is not None


def _parse(header: bytes | bytearray) -> _Header | None:
    """What a header says; None if no variable begins with it."""
    if len(header) < HEADER_BYTES:
        return None
    for machine, order in enumerate("<>"):
        digits, rows, columns, is_complex, length = struct.unpack(f"{order}5i", header)
        precision, layout = digits // 10 % 10, digits % 10
        if digits // 1000 != machine or digits // 100 % 10 or precision >= len(_DTYPES) or layout >= len(_KINDS):
            continue
        if is_complex in (0, 1) and 1 <= length <= LONGEST_NAME:
            dtype = np.dtype(order + _DTYPES[precision])
            return _Header(_KINDS[layout], dtype, rows, columns, bool(is_complex), length)
    return None
