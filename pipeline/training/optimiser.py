"""The optimiser."""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

from pipeline.config.run_config import OptimiserConfig

_Optimiser = TypeVar("_Optimiser", bound=torch.optim.Optimizer)
_EXCLUDED_FROM_COMPILATION = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")


def make_optimiser(network: torch.nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over all parameters, with weight decay for all of them, as in the paper's code."""
    parameters = network.parameters()
    if config.name == "adamw":
        return _eager(torch.optim.AdamW)(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return _eager(torch.optim.SGD)(
        parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )


def _eager(optimiser: type[_Optimiser]) -> type[_Optimiser]:
    """Return the class with methods that are not excluded from compilation.

    PyTorch imports its compiler to exclude them: two seconds in every training process.
    """
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in _EXCLUDED_FROM_COMPILATION}
    return type(optimiser.__name__, (optimiser,), methods | {"step": torch.no_grad()(methods["step"])})
