"""The optimiser."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import torch

from pipeline.config.run_config import OptimiserConfig
from pipeline.training.lamb import Lamb

_Optimiser = TypeVar("_Optimiser", bound=torch.optim.Optimizer)
_EXCLUDED_FROM_COMPILATION = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")


def make_optimiser(network: torch.nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """SGD with momentum, AdamW or LAMB over all parameters.

    All have weight decay, as in the paper's code, or, with `weight_decay_of` weights, those of at least two
    dimensions, such as the weights of convolutions and linear layers.
    """
    rate, decay = config.learning_rate, config.weight_decay
    parameters = list(network.parameters()) if config.weight_decay_of == "all" or not decay else _groups(network)
    if config.name == "adamw":
        return _eager(torch.optim.AdamW)(parameters, lr=rate, weight_decay=decay)
    if config.name == "lamb":
        return _eager(Lamb)(parameters, lr=rate, weight_decay=decay)
    return _eager(torch.optim.SGD)(parameters, lr=rate, momentum=config.momentum, weight_decay=decay)


def _groups(network: torch.nn.Module) -> list[dict[str, Any]]:
    """Weights, and what has no weight decay; a group without parameters is left out."""
    weights = {"params": [tensor for tensor in network.parameters() if tensor.ndim > 1]}
    others = {"params": [tensor for tensor in network.parameters() if tensor.ndim <= 1], "weight_decay": 0.0}
    return [group for group in (weights, others) if group["params"]]


def _eager(optimiser: type[_Optimiser]) -> type[_Optimiser]:
    """Return the class with methods that are not excluded from compilation.

    PyTorch imports its compiler to exclude them: two seconds in every training process.
    """
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in _EXCLUDED_FROM_COMPILATION}
    return type(optimiser.__name__, (optimiser,), methods | {"step": torch.no_grad()(methods["step"])})
