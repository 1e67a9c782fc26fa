"""Pickles of NumPy arrays and plain values, read without running any code of the file.

The Python version of CIFAR is pickled dictionaries with arrays, lists and text, written by Python 2. Only dictionaries,
lists, tuples, numbers, text and numeric arrays are built; any other class is refused before it is called.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.pickle_operations import read_operations

_MOST_DIMENSIONS = 8
_ARRAY_MODULES = frozenset({"numpy.core.multiarray", "numpy._core.multiarray"})


class Refused(Exception):
    """The pickle contains something other than plain values and numeric arrays, or is damaged."""


def read_arrays(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle, with arrays as its values; other values are as they were pickled.

    Text of Python 2, and bytes among the keys, become str (Latin-1).

    Raises:
        Refused: If there is anything but plain values and numeric arrays, or the pickle ends early.
    """
    try:
        for _ in read_operations(content):
            pass
        # Reading from memory never allocates more than the file has, whatever lengths it claims.
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(found, dict):
            raise Refused(f"a {type(found).__name__}, not a dictionary")
        return {text_of(key): value.array() if isinstance(value, _Array) else value for key, value in found.items()}
    except Refused:
        raise
    except Exception as error:  # whatever a damaged pickle makes pickle raise
        raise Refused(" ".join(str(error).split())[:120] or type(error).__name__) from None


def text_of(value: object) -> str:
    """Pickled text, which is bytes in files that Python 3 wrote."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


class _Type:
    """In place of a NumPy dtype; filled by the pickle's BUILD."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = str(code), "|"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2:
            raise Refused("a damaged type")
        self.order = str(state[1])

    def dtype(self) -> np.dtype[Any]:
        found = np.dtype(self.code)
        if found.kind not in "uifb":
            raise Refused(f"an array of type {self.code}")
        return found if self.order == "|" else found.newbyteorder("<" if self.order == "<" else ">")


class _Array:
    """In place of a NumPy array; filled by the pickle's BUILD."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        _, shape, kind, by_columns, content = self.state
        if not isinstance(kind, _Type) or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int for n in shape):
            raise Refused("an array of an unknown type or shape")
        content = content.encode("latin1") if isinstance(content, str) else content
        dtype = kind.dtype()
        fits = isinstance(content, bytes) and min(shape, default=0) >= 0
        if not fits or len(content) != math.prod(shape) * dtype.itemsize:
            raise Refused(f"an array of shape {shape} whose content has another size")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


class _Class:
    """In place of the class numpy.ndarray, which a pickle names but must not call."""

    def __init__(self, *_: Any) -> None:
        raise Refused("a call of numpy.ndarray")


def _encoded(text: str, encoding: str) -> bytes:
    """In place of ``_codecs.encode``, with which Python 3 writes bytes in old protocols."""
    if encoding != "latin1":
        raise Refused(f"text encoded as {encoding}")
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    """Knows arrays only."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAY_MODULES and name == "_reconstruct":
            return _Array
        known = {("numpy", "ndarray"): _Class, ("numpy", "dtype"): _Type, ("_codecs", "encode"): _encoded}
        if (module, name) not in known:
            raise Refused(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("a reference to another file")
