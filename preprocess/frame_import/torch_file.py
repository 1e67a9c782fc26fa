"""Tensors in files of ``torch.save``, read without torch and without running any code of the file.

Since torch 1.6 such a file is a ZIP archive: ``NAME/data.pkl`` is a pickle of the object, whose tensors name their
storages, and ``NAME/data/KEY`` is the content of a storage; ``NAME/byteorder`` is ``little`` or ``big``. Before, it was
five pickles (a magic number, the version, sizes of types, the object, the keys of the storages), then for each storage
its length, int64, and its content. Only lists, tuples, dictionaries, numbers, text and tensors are read, as with
``torch.load(weights_only=True)``.
Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.pickle_operations import read_operations

# A pickle of the number 0x1950A86A20F9469CFC6C.
_FIRST = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# What torch.save writes; others could run code, or claim memory for an index.
_OPCODES = frozenset(
    {
        "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
        "BINUNICODE", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND",
        "APPENDS", "SETITEM", "SETITEMS", "GLOBAL", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "BINPERSID",
        "REDUCE",
    }
)  # fmt: skip
_MOST_PICKLE_BYTES = 1 << 20
_MOST_DIMENSIONS = 8
_MOST_VALUES = 1 << 32
# A file may repeat values, with strides of 0, and objects: at most so much beyond its own bytes.
_MOST_REPEATED_BYTES = 1 << 28
_MOST_REPEATED_OBJECTS = 1 << 16
_GLOBALS = frozenset(
    ["torch._utils _rebuild_tensor_v2", "collections OrderedDict", *(f"torch {storage}" for storage in _DTYPES)]
)


def read_torch_file(path: Path) -> Any:
    """The object in a file of ``torch.save``, with NumPy arrays in place of tensors.

    Raises:
        RecordingError: If it is not such a file, is damaged, or contains other objects than tensors and plain values.
    """
    try:
        # Reading from memory never allocates more than the file has, whatever lengths it claims.
        file = io.BytesIO(path.read_bytes())
        return _read_archive(file) if zipfile.is_zipfile(path) else _read_pickles(file)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error}). Check the file.") from None
    except _Refused as error:
        raise RecordingError(f"{path}: expected tensors and plain values, found {error}. Save tensors only.") from None
    except Exception as error:  # whatever a damaged pickle or archive makes zipfile and pickle raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise RecordingError(f"{path}: expected a file of torch.save, found {reason}. Copy it again.") from None


class _Refused(Exception):
    """An object that is not read."""


@dataclass(frozen=True)
class _Storage:
    """A reference to a storage: the type and number of its values, and its key."""

    dtype: str
    key: str
    length: int


@dataclass(frozen=True)
class _Tensor:
    """A tensor whose storage is not read yet; offset and strides count values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    if not all(isinstance(number, int) and 0 <= number < 1 << 40 for number in numbers):
        raise ValueError("a tensor of an impossible shape")
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError(f"a tensor of shape {tuple(shape)}")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.length:
        raise ValueError("a tensor that is larger than its storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows tensors and ordered dictionaries only."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in _GLOBALS:
            raise _Refused(f"{module}.{name}")
        if module == "torch":
            return _DTYPES[name]
        return OrderedDict if module == "collections" else _rebuild

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or dtype not in _DTYPES.values() or not isinstance(length, int):
            raise ValueError("an unknown reference")
        return _Storage(dtype, str(key), length)


def _load(file: IO[bytes]) -> Any:
    """Unpickle from the position of a file, which is then behind the pickle."""
    start = file.tell()
    for name, argument in read_operations(file):
        if name == "GLOBAL" and argument not in _GLOBALS:
            raise _Refused(str(argument).replace(" ", "."))
        if name not in _OPCODES:
            raise _Refused(f"the pickle operation {name}")
    end = file.tell()
    if end - start > _MOST_PICKLE_BYTES:
        raise _Refused(f"a pickle of {end - start:,} bytes")
    file.seek(start)
    return _Unpickler(io.BytesIO(file.read(end - start))).load()


def _read_archive(file: io.BytesIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        (pickled,) = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        folder = pickled.removesuffix("data.pkl")
        if members[pickled].file_size > _MOST_PICKLE_BYTES:
            raise _Refused(f"a pickle of {members[pickled].file_size:,} bytes")
        stated = members.get(f"{folder}byteorder")
        big = stated is not None and stated.file_size == 3 and archive.read(stated) == b"big"
        order = ">" if big else "<"

        def content(storage: _Storage) -> NDArray[Any]:
            info = members[f"{folder}data/{storage.key}"]
            dtype = np.dtype(order + storage.dtype)
            # torch does not compress, so a size beyond that of the file is damage.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != storage.length * dtype.itemsize:
                raise ValueError("a storage of another size")
            return np.frombuffer(archive.read(info), dtype)

        found = _load(io.BytesIO(archive.read(pickled)))
        _tensors(found, file)  # Refuses what would fill the memory, before arrays are made.
        return _filled(found, content)


def _read_pickles(file: io.BytesIO) -> Any:
    if file.read(len(_FIRST)) != _FIRST:
        raise ValueError("other first bytes")
    file.seek(0)
    _load(file)
    _load(file)
    order = "<" if _load(file).get("little_endian", True) else ">"
    found, keys = _load(file), _load(file)
    storages: dict[str, bytes] = {}
    sizes = {tensor.storage.key: np.dtype(tensor.storage.dtype).itemsize for tensor in _tensors(found, file)}
    for key in keys:
        length = int.from_bytes(file.read(8), "little" if order == "<" else "big")
        storages[key] = file.read(length * sizes[key])
        if len(storages[key]) != length * sizes[key]:
            raise ValueError("a file that ends early")

    def content(storage: _Storage) -> NDArray[Any]:
        return np.frombuffer(storages[storage.key], np.dtype(order + storage.dtype))

    return _filled(found, content)


def _tensors(found: Any, file: io.BytesIO) -> list[_Tensor]:
    """The tensors in an object; _Refused if they are much larger than the file, or the objects more than its bytes."""
    tensors: list[_Tensor] = []
    waiting, objects, size = [found], 0, 0
    bytes_of_file = len(file.getbuffer())
    while waiting:
        item = waiting.pop()
        objects += 1
        if isinstance(item, _Tensor):
            tensors.append(item)
            size += math.prod(item.shape) * np.dtype(item.storage.dtype).itemsize
        elif isinstance(item, Mapping | list | tuple):
            waiting += item.values() if isinstance(item, Mapping) else item
        if size > bytes_of_file + _MOST_REPEATED_BYTES or objects > bytes_of_file + _MOST_REPEATED_OBJECTS:
            raise _Refused(f"repeated ones, {objects:,} objects with {size:,} bytes or more")
    return tensors


def _filled(found: Any, content: Callable[[_Storage], NDArray[Any]]) -> Any:
    """The object with an array in place of each tensor."""
    if isinstance(found, _Tensor):
        values = content(found.storage)
        if len(values) < found.storage.length:
            raise ValueError("a storage of another size")
        strides = tuple(stride * values.itemsize for stride in found.strides)
        view = np.lib.stride_tricks.as_strided(values[found.offset :], found.shape, strides, writeable=False)
        return view.astype(view.dtype.newbyteorder("="))
    if isinstance(found, Mapping):
        return {key: _filled(value, content) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_filled(value, content) for value in found]
    return found
