"""Gradient accumulation for trials that do not fit in memory."""

from __future__ import annotations

from pipeline.config.run_config import RunConfig


def halved_micro_batch(config: RunConfig, micro_batch: int | None) -> int | None:
    """Return half of a trial's micro-batch size; None if it cannot be halved.

    Args:
        config: The trial.
        micro_batch: The micro-batch size of the attempt that ran out of memory; None for the configuration's own.
    """
    half = (micro_batch or config.micro_batch or config.batch_size) // 2
    return half if half >= 1 else None
