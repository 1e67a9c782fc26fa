"""Time and peak memory of functions on a GPU, or for a check of the benchmark itself on the CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

Work = Callable[[], object]


def time_in_turns(works: Sequence[Work], device: torch.device, repeats: int, unused: int = 2) -> list[float]:
    """Time functions in turns, by the GPU's clock on CUDA; return their medians in seconds.

    Args:
        works: What is timed.
        device: Where it computes.
        repeats: Number of timings of each.
        unused: Number of runs of each before that, which compile and warm up.
    """
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + unused):
        for times, work in zip(taken, works, strict=True):
            times.append(_seconds(work, device))
    return [statistics.median(times[unused:]) for times in taken]


def _seconds(work: Work, device: torch.device) -> float:
    if device.type != "cuda":
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def peak_memory_mb(make: Callable[[], Work]) -> float:
    """Peak memory of tensors on the current GPU in a training step, in 10^6 bytes.

    Args:
        make: Makes the step with its network, optimiser and batch, which count too. That of the third step counts, when
            everything is compiled and the optimiser has its state.
    """
    step = make()
    for _ in range(3):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 1e6
    del step
    torch.cuda.empty_cache()
    return peak
