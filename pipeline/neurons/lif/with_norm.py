"""LIF after a batch norm, for `pipeline.kernels.norm_neuron`: its kernels with their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.norm_neuron import Affine, InputGradients, Outputs
from pipeline.neurons.lif import cpu_with_norm_kernels as lif_cpu_with_norm

_float = np.float32
_Array = NDArray[Any]


@dataclass(frozen=True)
class LIFSteps:
    """LIF with the soft reset; see `pipeline.neurons.lif.custom_op.Update` for the settings."""

    keep: float
    gain: float
    v_threshold: float
    reset: float
    detach_reset: bool
    kind: int
    alpha: float

    def forward(self, x: _Array, states: list[_Array], norm: Affine, filled: Outputs) -> Callable[..., None]:
        """See `Steps`."""
        (v,), (v_after,) = states, filled.states
        keep, v_threshold, reset = _float(self.keep), _float(self.v_threshold), _float(self.reset)
        return partial(
            lif_cpu_with_norm.forward,
            *(x, v, norm.scale, norm.shift, keep, v_threshold, reset),
            *(filled.spikes, v_after),
        )

    def backward(
        self, grads: Outputs, x: _Array, states: list[_Array], norm: Affine, filled: InputGradients
    ) -> Callable[..., None]:
        """See `Steps`."""
        (v,), (grad_v,), (before_v,) = states, grads.states, filled.states
        keep, v_threshold, reset = _float(self.keep), _float(self.v_threshold), _float(self.reset)
        through, alpha = _float(0.0 if self.detach_reset else self.reset), _float(self.alpha)
        return partial(
            lif_cpu_with_norm.backward,
            *(grads.spikes, grad_v, x, v),
            *(norm.scale, norm.shift, norm.mean, keep, v_threshold, reset, through, self.kind, alpha),
            *(filled.x, before_v, filled.sums),
        )

    @property
    def cuda_kernels(self) -> ModuleType:
        """See `Steps`."""
        from pipeline.neurons.lif import cuda_with_norm_kernels

        return cuda_with_norm_kernels
