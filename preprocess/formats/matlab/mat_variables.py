"""The variables of a MATLAB file up to version 7: listed without their numbers, and read if they are arrays of numbers.

Arrays keep the type in which the file stores them, which may be smaller than their class: MATLAB stores doubles that
are whole numbers as small integers. What else a file may contain (cells, objects, text) is listed and never read.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.matlab.bounded_bytes import DamagedMatFile

LONGEST_NAME = 4096
"""Bytes of a name; MATLAB's have 63 at most."""

_MOST_ELEMENTS = 1 << 48
_NUMBERS = {*(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "double", "single", "logical"}


@dataclass(frozen=True)
class MatVariable:
    """A variable, or a field of a struct.

    Attributes:
        name: Its name.
        kind: Its class as MATLAB's ``whos`` names it, such as ``double``, ``logical``, ``struct`` or ``cell``; objects
            of newer classes are ``opaque``.
        shape: Its shape; empty if it is opaque.
        is_complex: Whether its numbers are complex.
        position: The byte of the file at which it begins; 0 for a field.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    is_complex: bool = False
    position: int = 0

    @property
    def is_numbers(self) -> bool:
        """Whether it is a full array of real numbers, which can be read."""
        return self.kind in _NUMBERS and not self.is_complex


class MatVariables(ABC):
    """The variables of an open file."""

    @abstractmethod
    def list_all(self) -> dict[str, MatVariable]:
        """All variables by their names, the first of a name, without reading their numbers.

        Raises:
            DamagedMatFile: If the file is damaged.
        """

    @abstractmethod
    def read(self, variable: MatVariable) -> NDArray[Any]:
        """Return the numbers of a variable that is an array of numbers.

        Raises:
            DamagedMatFile: If the file is damaged, or the variable something else.
        """

    def list_fields(self, struct: MatVariable) -> dict[str, MatVariable]:
        """The fields of a struct by their names, without reading their numbers; none if it is not a single struct.

        Raises:
            DamagedMatFile: If the file is damaged.
        """
        return {}

    def read_fields(self, struct: MatVariable, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """The numbers of those fields of a single struct that it has and that are arrays of numbers.

        Raises:
            DamagedMatFile: If the file is damaged.
        """
        return {}


def checked_shape(sides: Sequence[int]) -> tuple[int, ...]:
    """Return the shape with these sides; DamagedMatFile if no array can have it."""
    if min(sides, default=0) < 0 or math.prod(max(side, 1) for side in sides) > _MOST_ELEMENTS:
        raise DamagedMatFile(f"the shape {' x '.join(map(str, sides))}")
    return tuple(sides)


def as_array(data: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the bytes as an array, whose columns MATLAB stores one after the other."""
    return np.frombuffer(data, dtype).reshape(shape, order="F")
