"""The learning rate of each epoch in closed form, so that resuming needs no scheduler state."""

from __future__ import annotations

import math

from pipeline.config.run_config import RunConfig


def learning_rate(config: RunConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 1.

    Linear over the w warm-up epochs, then ``low + (lr - low) * (1 + cos(pi * (e - 1 - w) / (E - c - w))) / 2`` (cosine,
    as PyTorch's CosineAnnealingLR stepped once an epoch with T_max = E - w, if there are no c cooldown epochs with the
    rate `low`), ``lr * factor ** ((e - 1 - w) // step_epochs)`` (step, as StepLR) or constant. With `cosine_from`
    start, the cosine is that of w = 0, as timm's CosineLRScheduler with warmup_prefix=False.
    """
    schedule, highest = config.schedule, config.optimiser.learning_rate
    warmup = schedule.warmup_epochs
    if epoch <= warmup:
        if schedule.warmup_learning_rate is None:
            return highest * epoch / (warmup + 1)
        lowest = schedule.warmup_learning_rate
        return lowest + (highest - lowest) * (epoch - 1) / warmup
    if schedule.name == "constant":
        return highest
    if schedule.name == "step":
        return highest * schedule.step_factor ** ((epoch - 1 - warmup) // schedule.step_epochs)
    lowest, before = schedule.min_learning_rate, warmup if schedule.cosine_from == "warmup" else 0
    done = min(1.0, (epoch - 1 - before) / (schedule.epochs - schedule.cooldown_epochs - before))
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * done)) / 2
