"""CLIF behind a batch norm, for `pipeline.kernels.norm_neuron`: its two kernels with their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.neurons.clif import cpu_with_norm as clif_cpu_with_norm

if TYPE_CHECKING:
    pass


_float = np.float32
_Array = NDArray[Any]


@dataclass(frozen=True)
class CLIFSteps:
    """CLIF; see `pipeline.neurons.clif.custom_op.Settings` for the settings."""

    tau: float
    v_threshold: float
    kind: int
    alpha: float
    gain: float = 1.0

    def forward(self, x: _Array, states: list[_Array], norm: list[_Array], filled: list[_Array]) -> Callable[..., None]:
        """See `Steps`."""
        settings = _float(self.tau), _float(self.v_threshold)
        return partial(clif_cpu_with_norm.forward, x, *states, *norm, *settings, *filled)

    def backward(
        self, grads: list[_Array], x: _Array, states: list[_Array], norm: list[_Array], filled: list[_Array]
    ) -> Callable[..., None]:
        """See `Steps`."""
        settings = _float(self.tau), _float(self.v_threshold), self.kind, _float(self.alpha)
        return partial(clif_cpu_with_norm.backward, *grads, x, *states, *norm, *settings, *filled)
