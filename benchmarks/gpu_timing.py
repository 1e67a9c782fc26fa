"""Time and peak memory of functions on a GPU, or for a check of the benchmark itself on the CPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch

from benchmarks.measuring import time_in_turns

Work = Callable[[], object]


def seconds_in_turns(works: Sequence[Work], device: torch.device, repeats: int, unused: int = 2) -> list[float]:
    """As `benchmarks.measuring.time_in_turns`, by the GPU's clock on CUDA; return the medians in seconds.

    Args:
        works: What is timed.
        device: Where it computes.
        repeats: Number of timings of each.
        unused: Number of runs of each before that, which compile and warm up.
    """
    for work in works:
        for _ in range(unused):
            work()
    if device.type != "cuda":
        return [timing.wall_s for timing in time_in_turns(works, repeats)]
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for times, work in zip(taken, works, strict=True):
            times.append(_gpu_seconds(work))
    return [statistics.median(times) for times in taken]


def _gpu_seconds(work: Work) -> float:
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
