"""Sharing a kernel's elements among threads.

Compiled kernels release the GIL, so plain Python threads run them side by side. Numba's own parallel loops would do
the same, but its layers abort when two threads enter them at once (workqueue) or when a forked child does (OpenMP).
Every element's result is the same whichever thread computes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

# Less than this many element-steps a thread is done sooner than another thread wakes up.
_LEAST = 1 << 16


def for_ranges(kernel: Callable[[int, int], None], elements: int, steps: int) -> None:
    """Call ``kernel(l, r)`` for ranges [l, r) that cover all elements, on as many threads as torch computes with.

    Args:
        kernel: Works on elements l <= i < r for all time steps; releases the GIL.
        elements: How many elements there are.
        steps: T, which makes an element's work.
    """
    threads = min(torch.get_num_threads(), elements * steps // _LEAST)
    if threads <= 1:
        kernel(0, elements)
        return
    # Ranges end at multiples of 64 elements, so that no two threads write to one cache line.
    width = -(-elements // (threads * 64)) * 64
    bounds = [(l, min(l + width, elements)) for l in range(0, elements, width)]
    others = [_pool(threads, os.getpid()).submit(kernel, l, r) for l, r in bounds[1:]]
    kernel(*bounds[0])
    for other in others:
        other.result()


@cache
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a forked child, which inherits none, makes its own."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="neurons")
