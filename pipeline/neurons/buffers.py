"""Memory of large results on the CPU, used again: pages fetched anew cost more time than the kernels that fill them.

A tensor's memory comes back when the last tensor over it is gone, as autograd's own may be long after. What lies idle
is at most what was in use at once.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

# Less than this comes from memory that the C library keeps itself.
_LEAST_BYTES = 1 << 17

_idle: dict[int, deque[NDArray[np.uint8]]] = {}


def empty_rows(steps: int, elements: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """An uninitialised tensor (T, N) on the CPU."""
    size = dtype.itemsize * steps * elements
    if size < _LEAST_BYTES:
        return torch.empty(steps, elements, dtype=dtype)
    # Sizes an eighth apart at most, so that a batch that is a little smaller finds memory too.
    unit = 1 << max(size.bit_length() - 4, 0)
    room = -(-size // unit) * unit
    idle = _idle.setdefault(room, deque())
    try:
        memory = idle.pop()
    except IndexError:
        memory = np.empty(room, np.uint8)
    # torch keeps this view for as long as a tensor over it lives; its end is how the memory comes back.
    lent = memory[:size]
    finalizer = weakref.finalize(lent, idle.append, memory)
    finalizer.atexit = False
    return torch.from_numpy(lent).view(dtype).view(steps, elements)


def like(x: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor of the shape of x, float32 (T, N)."""
    return empty_rows(*x.shape)


def converted(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows (T, N) in another dtype; themselves where it is theirs."""
    return rows if rows.dtype == dtype else empty_rows(rows.shape[0], rows.shape[1], dtype).copy_(rows)


def idle_bytes() -> int:
    """What waits to be used again."""
    return sum(memory.nbytes for idle in _idle.values() for memory in idle)


def release() -> None:
    """Give everything that lies idle back to the system."""
    for idle in _idle.values():
        idle.clear()
