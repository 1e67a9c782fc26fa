"""The optimiser, and each epoch's learning rate in closed form, so that resuming needs no scheduler's state."""

from __future__ import annotations

import math

import torch

from pipeline.config import OptimiserConfig, RunConfig


def make_optimiser(network: torch.nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over all parameters; weight decay holds for all of them, as in the paper's code."""
    parameters = network.parameters()
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )


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
