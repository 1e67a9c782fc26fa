"""A pool of memory for large results on the CPU: new pages cost more time than the kernels that fill them.

A tensor's memory returns to the pool when the last tensor that shares it is gone, which may be long after, if autograd
keeps one. Idle and used memory together never exceed the most that was used at once.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Smaller allocations are pooled by the C library.
_LEAST_BYTES = 1 << 17

# Float32 numbers in a cache line.
_LINE = 16

_lock = threading.RLock()
_idle: dict[int, list[NDArray[np.uint8]]] = {}
"""Idle memory by size, the most recently used sizes last."""


@dataclass
class _Bytes:
    lent: int = 0
    most: int = 0
    idle: int = 0


_bytes = _Bytes()


def empty_rows(steps: int, elements: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """An uninitialised tensor (T, N) on the CPU."""
    size = dtype.itemsize * steps * elements
    if size < _LEAST_BYTES:
        return torch.empty(steps, elements, dtype=dtype)
    # Sizes differ by an eighth at most, so that a slightly smaller batch can reuse memory.
    unit = 1 << max(size.bit_length() - 4, 0)
    memory = _lend(-(-size // unit) * unit)
    # torch keeps this view as long as a tensor shares its memory; its finalizer returns the memory to the pool.
    lent = memory[:size]
    finalizer = weakref.finalize(lent, _take_back, memory)
    finalizer.atexit = False
    return torch.from_numpy(lent).view(dtype).view(steps, elements)


def _lend(room: int) -> NDArray[np.uint8]:
    with _lock:
        idle = _idle.pop(room, [])
        _idle[room] = idle
        memory = idle.pop() if idle else None
        _bytes.idle -= 0 if memory is None else room
        _bytes.lent += room
        _bytes.most = max(_bytes.most, _bytes.lent)
    return np.empty(room, np.uint8) if memory is None else memory


def _take_back(memory: NDArray[np.uint8]) -> None:
    room = memory.nbytes
    with _lock:
        _bytes.lent -= room
        _idle.setdefault(room, []).append(memory)
        _bytes.idle += room
        for size, idle in list(_idle.items()):
            while idle and _bytes.idle + _bytes.lent > _bytes.most:
                idle.pop()
                _bytes.idle -= size


def aligned(elements: int) -> torch.Tensor:
    """Uninitialised float32 (elements,) at a multiple of 64 bytes, so that no vector spans two cache lines."""
    room = empty_rows(1, elements + _LINE).view(-1)
    first = -room.data_ptr() // 4 % _LINE
    return room[first : first + elements]


def like(x: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor of the shape of x, float32 (T, N)."""
    return empty_rows(*x.shape)


def converted(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows (T, N) in another dtype; unchanged if they have it already."""
    return rows if rows.dtype == dtype else empty_rows(rows.shape[0], rows.shape[1], dtype).copy_(rows)


def release() -> None:
    """Return all idle memory to the system."""
    with _lock:
        _idle.clear()
        _bytes.idle, _bytes.most = 0, _bytes.lent
