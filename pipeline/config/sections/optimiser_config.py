"""The section `optimiser`: learning rate, weight decay and others, with the default of each field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser."""

    name: Literal["sgd", "adamw", "lamb"] = "sgd"
    """Optimisation algorithm."""
    learning_rate: float = 0.1
    """Initial learning rate."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float = 5e-4
    """Weight decay: L2 regularisation for sgd, decoupled for adamw, part of the update that lamb scales."""
    weight_decay_of: Literal["all", "weights"] = "all"
    """Parameters with weight decay. all: as in the CLIF authors' code. weights: not biases, batch norm and other
    parameters of one dimension, as in timm. lamb does not scale the step of what has no weight decay."""
    clip_norm: float | None = None
    """Clip the global gradient norm to this value (default: no clipping)."""
    ema_decay: float | None = None
    """Evaluate and save an exponential moving average of the weights with this decay per optimiser step; 0.99 averages
    over about 100 steps (default: no averaging)."""

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range."""
        if not 0 < self.learning_rate < math.inf:
            yield f"optimiser.learning_rate: expected more than 0, found {self.learning_rate}"
        if not 0.0 <= self.momentum < 1.0:
            yield f"optimiser.momentum: expected a share in [0, 1), found {self.momentum}"
        if not 0 <= self.weight_decay < math.inf:
            yield f"optimiser.weight_decay: expected at least 0, found {self.weight_decay}"
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            yield f"optimiser.clip_norm: expected more than 0, found {self.clip_norm}"
        if self.ema_decay is not None and not 0.0 < self.ema_decay < 1.0:
            yield f"optimiser.ema_decay: expected a share in (0, 1), found {self.ema_decay}"
