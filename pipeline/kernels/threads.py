"""Splits a kernel's elements among threads: torch's own, where they can be called.

Compiled kernels release the GIL, so threads run them in parallel. torch's OpenMP threads keep spinning for milliseconds
after each operation, waiting for the next one: additional threads would have to wait for a processor, which doubles the
time of a neuron in a network. Numba's parallel loops would also start additional threads, and abort when two threads
enter them at once (workqueue) or when a forked child does (OpenMP).
The result of every element is the same for any number of threads.
"""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

from preprocess.interrupts import raise_if_stopped

# A thread finishes fewer element-steps than this before another thread wakes up.
_LEAST = 1 << 16

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def for_ranges(kernel: Callable[[int, int], None], elements: int, steps: int) -> None:
    """Call ``kernel(l, r)`` for ranges [l, r) that cover all elements, on as many threads as torch uses.

    Args:
        kernel: Works on elements l <= i < r for all time steps; releases the GIL.
        elements: Number of elements.
        steps: T, the work per element.
    """
    threads = min(torch.get_num_threads(), elements * steps // _LEAST)
    if threads <= 1:
        kernel(0, elements)
        return
    # Ranges end at multiples of 64 elements, so that no two threads write to one cache line.
    width = -(-elements // (threads * 64)) * 64
    _run([(l, min(l + width, elements)) for l in range(0, elements, width)], kernel, threads)


def for_parts(kernel: Callable[[int, int], None], parts: int, work: int) -> None:
    """Call ``kernel(l, r)`` for ranges [l, r) that cover all parts, as `for_ranges` does; a part is any unit of work.

    Args:
        kernel: Works on parts l <= part < r; releases the GIL.
        parts: Number of parts.
        work: Total element-steps of all parts.
    """
    threads = max(1, min(torch.get_num_threads(), work // _LEAST, parts))
    if threads == 1:
        kernel(0, parts)
        return
    bounds = [parts * k // threads for k in range(threads + 1)]
    _run(list(itertools.pairwise(bounds)), kernel, threads)


def _run(bounds: list[tuple[int, int]], kernel: Callable[[int, int], None], threads: int) -> None:
    openmp = _openmp(os.getpid())
    if openmp is None:
        others = [_pool(threads, os.getpid()).submit(kernel, l, r) for l, r in bounds[1:]]
        kernel(*bounds[0])
        for other in others:
            other.result()
    else:
        _run_on_openmp(openmp, kernel, bounds)


def _run_on_openmp(openmp: Any, kernel: Callable[[int, int], None], bounds: list[tuple[int, int]]) -> None:
    waiting, errors, through = deque(bounds), deque[BaseException](), set[int]()

    def member(_: int) -> None:
        try:
            while waiting:
                kernel(*waiting.popleft())
            through.add(threading.get_ident())
        except IndexError:  # another thread was faster
            through.add(threading.get_ident())
        except BaseException as error:  # also Ctrl-C: no exception may propagate through C
            errors.append(error)

    openmp.GOMP_parallel(_CALLBACK(member), None, len(bounds), 0)
    if errors:
        raise errors[0]
    if threading.get_ident() not in through:
        # Ctrl-C or SIGTERM arrived before the first line of `member`, where C can only drop it.
        raise_if_stopped()
        raise KeyboardInterrupt
    while waiting:
        kernel(*waiting.popleft())


_AT_HOME = os.getpid()


@cache
def _openmp(process: int) -> Any:
    """torch's OpenMP library, or None if it does not have GNU's interface, or if this process is a fork.

    GNU's threads do not survive a fork, and a child that uses them waits forever.
    """
    forked = type(multiprocessing.current_process()).__name__ == "ForkProcess"
    if process != _AT_HOME or forked:
        return None
    folder = Path(torch.__file__).parent / "lib"
    for path in sorted([*folder.glob("libgomp*.so*"), *folder.glob("libiomp5*.so*")]):
        try:
            library = ctypes.CDLL(str(path))
            library.GOMP_parallel.argtypes = [_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            library.GOMP_parallel.restype = None
        except (AttributeError, OSError):
            continue
        return library
    return None


@cache
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a forked child inherits none and starts its own."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="neurons")
