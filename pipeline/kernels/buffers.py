"""Memory of large results on the CPU, used again: pages fetched anew cost more time than the kernels that fill them.

A tensor's memory comes back when the last tensor over it is gone, as autograd's own may be long after. What lies idle
is at most what was in use at once.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Less than this comes from memory that the C library keeps itself.
_LEAST_BYTES = 1 << 17

_lock = threading.RLock()
_idle: dict[int, list[NDArray[np.uint8]]] = {}
"""By size, the sizes used last at the end."""


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
    # Sizes an eighth apart at most, so that a batch that is a little smaller finds memory too.
    unit = 1 << max(size.bit_length() - 4, 0)
    memory = _lend(-(-size // unit) * unit)
    # torch keeps this view for as long as a tensor over it lives; its end is how the memory comes back.
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


def like(x: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor of the shape of x, float32 (T, N)."""
    return empty_rows(*x.shape)


def converted(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows (T, N) in another dtype; themselves where it is theirs."""
    return rows if rows.dtype == dtype else empty_rows(rows.shape[0], rows.shape[1], dtype).copy_(rows)


def idle_bytes() -> int:
    """What waits to be used again."""
    return _bytes.idle


def release() -> None:
    """Give everything that lies idle back to the system."""
    with _lock:
        _idle.clear()
        _bytes.idle, _bytes.most = 0, _bytes.lent
