"""The variables of a MATLAB file of version 5; version 7 only compresses them.

128 bytes (text, and at byte 124 the version u16 and the letters MI, which are IM in little-endian files) are followed
by data elements: a type u32, the number of bytes u32, and that many bytes, filled up to a multiple of 8; or, if there
are at most four, the number u16, the type u16 and four bytes. A variable is an element miMATRIX, or one miCOMPRESSED
that contains it. Its elements are flags (class, complex, logical), sides, name and the real part; those of a struct,
the length of a field's name, the names, and an miMATRIX without a name for each field.
Source: MathWorks, MAT-File Format
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.matlab.bounded_bytes import BoundedBytes, DamagedMatFile, Inflated, Stored
from preprocess.formats.matlab.mat_variables import (
    LONGEST_NAME,
    MatVariable,
    MatVariables,
    as_array,
    checked_shape,
)

_HEADER_BYTES = 128
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED, _UTF8 = 1, 2, 5, 6, 14, 15, 16
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT = (_INT8, _UINT8, _UTF8)

_CLASSES = dict(enumerate(
    ("cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16", "int32",
     "uint32", "int64", "uint64", "function", "opaque"), start=1,
))  # fmt: skip
_LOGICAL, _COMPLEX = 0x0200, 0x0800

_MOST_SIDES = 32
_MOST_NAMES_BYTES = 1 << 20


class _Tag(NamedTuple):
    """What precedes the bytes of an element: its type and their number, and the bytes themselves if they are within."""

    type: int
    size: int
    data: bytes | bytearray | None


class Mat5Variables(MatVariables):
    """The variables of a file of version 5.

    Args:
        file: The open file.
        size: Its size in bytes.

    Raises:
        DamagedMatFile: If its header is not that of version 5.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        file.seek(0)
        header = file.read(_HEADER_BYTES)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:])
        if order is None:
            raise DamagedMatFile("a header without the letters of the byte order, IM or MI, at byte 126")
        self._order, self._two_words = order, struct.Struct(f"{order}2I")
        (version,) = struct.unpack_from(f"{order}H", header, 124)
        if version >> 8 != 1:
            shown = "7.3, which is HDF5," if version >> 8 == 2 else f"0x{version:04x}"
            raise DamagedMatFile(f"version {shown} instead of version 5")

    def list_all(self) -> dict[str, MatVariable]:
        """All variables by their names, without reading their numbers."""
        found: dict[str, MatVariable] = {}
        position = _HEADER_BYTES
        while position < self._size:
            with self._matrix(position) as (matrix, size):
                variable = self._head(matrix, position)
            # Data of MATLAB's own for the objects of the file have no name.
            if variable.name:
                found.setdefault(variable.name, variable)
            position += 8 + size
        return found

    def read(self, variable: MatVariable) -> NDArray[Any]:
        """Return the numbers of a variable that is an array of numbers."""
        with self._matrix(variable.position, whole=True) as (matrix, _):
            return self._numbers(matrix, self._head(matrix, variable.position))

    def list_fields(self, struct: MatVariable) -> dict[str, MatVariable]:
        """The fields of a struct by their names, without reading their numbers; none if it is not a single struct."""
        found: dict[str, MatVariable] = {}
        for field, _ in self._fields(struct):
            found.setdefault(field.name, field)
        return found

    def read_fields(self, struct: MatVariable, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """The numbers of those fields of a single struct that it has and that are arrays of numbers."""
        found: dict[str, NDArray[Any]] = {}
        for field, matrix in self._fields(struct):
            if field.name in names and field.name not in found and field.is_numbers:
                found[field.name] = self._numbers(matrix, field)
        return found

    @contextlib.contextmanager
    def _matrix(self, position: int, whole: bool = False) -> Iterator[tuple[BoundedBytes, int]]:
        """The bytes of the variable that begins at a byte, and the size of its element; errors name the byte.

        With `whole`, what was not read of them is checked too, if they are compressed.
        """
        try:
            self._file.seek(position)
            stored = BoundedBytes(Stored(self._file), self._size - position)
            kind, size = self._two_words.unpack(stored.take(8))
            matrix = stored.inside(size)
            inflated = None
            if kind == _COMPRESSED:
                inflated = Inflated(self._file, size)
                kind, claimed = self._two_words.unpack(BoundedBytes(inflated, 8).take(8))
                matrix = BoundedBytes(inflated, claimed)
            if kind != _MATRIX:
                raise DamagedMatFile(f"an element of type {kind} instead of a variable")
            yield matrix, size
            if whole and inflated is not None:
                matrix.skip(matrix.left)
                inflated.check_end()
        except DamagedMatFile as error:
            raise DamagedMatFile(f"in the variable at byte {position}: {error}") from None

    def _head(self, matrix: BoundedBytes, position: int = 0) -> MatVariable:
        """What the first elements of a variable say; its data follow."""
        flags_tag = self._tag(matrix)
        if flags_tag != (_UINT32, 8, None):
            raise DamagedMatFile(f"{flags_tag.size:,} bytes of type {flags_tag.type} instead of flags")
        flags, _ = self._two_words.unpack(matrix.take(8))
        kind = _CLASSES.get(flags & 255)
        if kind is None:
            raise DamagedMatFile(f"the unknown class {flags & 255}")
        shape: tuple[int, ...] = ()
        if kind != "opaque":
            sides = self._element(matrix, "sides", (_INT32, _UINT32), 4 * _MOST_SIDES)
            if len(sides) % 4:
                raise DamagedMatFile(f"{len(sides)} bytes for sides of 4 bytes")
            shape = checked_shape(struct.unpack(f"{self._order}{len(sides) // 4}i", sides))
        name = self._element(matrix, "a name", _TEXT, LONGEST_NAME).decode("latin-1")
        # A sparse array of truth values is logical too, but is not stored as numbers in their order.
        if flags & _LOGICAL and kind not in ("sparse", "opaque"):
            kind = "logical"
        return MatVariable(name, kind, shape, bool(flags & _COMPLEX), position)

    def _numbers(self, matrix: BoundedBytes, variable: MatVariable) -> NDArray[Any]:
        """The real part, which is next."""
        if not variable.is_numbers:
            raise DamagedMatFile(f"{variable.kind} instead of real numbers")
        if math.prod(variable.shape) == 0:
            return np.zeros(variable.shape)
        tag = self._tag(matrix)
        if tag.type not in _DTYPES:
            raise DamagedMatFile(f"data of type {tag.type} instead of numbers")
        dtype = np.dtype(self._order + _DTYPES[tag.type])
        if tag.size != math.prod(variable.shape) * dtype.itemsize:
            sides = " x ".join(map(str, variable.shape))
            raise DamagedMatFile(f"{tag.size:,} bytes for {sides} numbers of {dtype.itemsize} bytes")
        return as_array(matrix.take(tag.size) if tag.data is None else tag.data, dtype, variable.shape)

    def _fields(self, variable: MatVariable) -> Iterator[tuple[MatVariable, BoundedBytes]]:
        """The fields of a single struct, each with its data, which may be read before the next field."""
        if variable.kind != "struct" or math.prod(variable.shape) != 1:
            return
        with self._matrix(variable.position, whole=True) as (matrix, _):
            self._head(matrix)
            length = self._element(matrix, "the length of names", (_INT32,), 4)
            names = self._element(matrix, "names of fields", _TEXT, _MOST_NAMES_BYTES)
            step = struct.unpack(f"{self._order}i", length)[0] if len(length) == 4 else 0
            if step < 1 or len(names) % step:
                raise DamagedMatFile(f"{len(names)} bytes for names of {step} bytes")
            for start in range(0, len(names), step):
                name = names[start : start + step].split(b"\0")[0].decode("latin-1")
                kind, size = self._two_words.unpack(matrix.take(8))
                if kind != _MATRIX:
                    raise DamagedMatFile(f"an element of type {kind} instead of the field {name!r}")
                inner = matrix.inside(size)
                # A field that was never set has no bytes at all.
                head = self._head(inner) if size else MatVariable("", "double", (0, 0))
                yield MatVariable(name, head.kind, head.shape, head.is_complex), inner
                inner.skip(inner.left)

    def _tag(self, part: BoundedBytes) -> _Tag:
        tag = part.take(8)
        word, size = self._two_words.unpack(tag)
        if not word >> 16:
            return _Tag(word, size, None)
        size = word >> 16
        if size > 4:
            raise DamagedMatFile(f"{size:,} bytes of type {word & 0xFFFF} in the space of four")
        return _Tag(word & 0xFFFF, size, tag[4 : 4 + size])

    def _element(self, part: BoundedBytes, what: str, types: Collection[int], most: int) -> bytes | bytearray:
        """The bytes of the next element, which has one of the types and at most that many bytes."""
        tag = self._tag(part)
        if tag.type not in types or tag.size > most:
            raise DamagedMatFile(f"{tag.size:,} bytes of type {tag.type} instead of {what}")
        if tag.data is not None:
            return tag.data
        # Whatever fills the last element up may be missing.
        return part.take(min(tag.size + -tag.size % 8, max(tag.size, part.left)))[: tag.size]
