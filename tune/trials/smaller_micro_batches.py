"""Trials that run out of memory: they continue from their last checkpoint with smaller micro-batches."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config.run_config import RunConfig
from preprocess.errors import FullMemoryError


def halved_micro_batch(config: RunConfig, micro_batch: int | None) -> int | None:
    """Return half of a trial's micro-batch size; None if it cannot be halved.

    Args:
        config: The trial.
        micro_batch: The micro-batch size of the attempt that ran out of memory; None for the configuration's own.
    """
    half = (micro_batch or config.micro_batch or config.batch_size) // 2
    return half if half >= 1 else None


def train_in_memory(
    train: Callable[[int | None], object], config: RunConfig, micro_batch: int | None, *, accumulate: bool
) -> None:
    """Train, and again with half the micro-batch size each time memory is full.

    Args:
        train: Called with the micro-batch size; continues from the run's last checkpoint.
        config: The trial.
        micro_batch: The size to start with; None for the configuration's own.
        accumulate: Whether gradients may be accumulated over micro-batches.

    Raises:
        FullMemoryError: If memory is full with the smallest micro-batch, or the first if not `accumulate`.
    """
    from pipeline.runtime.device import free_memory

    while True:
        try:
            train(micro_batch)
            return
        except FullMemoryError:
            smaller = halved_micro_batch(config, micro_batch)
            if smaller is None or not accumulate:
                raise
            micro_batch = smaller
        free_memory()
