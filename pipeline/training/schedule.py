"""The learning rate of each epoch in closed form, so that resuming needs no scheduler state."""

from __future__ import annotations

import math

from pipeline.config.run_config import RunConfig


def learning_rate(config: RunConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 1.

    Linear over the warm-up epochs, then ``lr * (1 + cos(pi * (e - 1 - w) / (E - w))) / 2`` (cosine, as PyTorch's
    CosineAnnealingLR stepped once an epoch with T_max = E - w), ``lr * factor ** ((e - 1 - w) // step_epochs)`` (step,
    as StepLR) or constant.
    """
    schedule, highest = config.schedule, config.optimiser.learning_rate
    warmup = schedule.warmup_epochs
    if epoch <= warmup:
        return highest * epoch / (warmup + 1)
    if schedule.name == "constant":
        return highest
    if schedule.name == "step":
        return highest * schedule.step_factor ** ((epoch - 1 - warmup) // schedule.step_epochs)
    return highest * (1 + math.cos(math.pi * (epoch - 1 - warmup) / (schedule.epochs - warmup))) / 2
