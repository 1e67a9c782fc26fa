"""The optimiser."""

from __future__ import annotations

import torch

from pipeline.config.run_config import OptimiserConfig


def make_optimiser(network: torch.nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over all parameters, with weight decay for all of them, as in the paper's code."""
    parameters = network.parameters()
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
