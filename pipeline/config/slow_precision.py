"""The precision that a device computes so slowly that its user should know."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.config.run_config import RunConfig


def slow_precision(configs: Iterable[RunConfig], device: str) -> str | None:
    """A line if any of the runs, on a device of this type, takes many times as long as in another precision."""
    if device != "cpu" or all(config.precision != "fp16" for config in configs):
        return None
    return (
        "precision: fp16 takes tens of times as long as fp32 on a CPU, which has no fast kernels for it. For a shorter "
        "run: --precision fp32"
    )
