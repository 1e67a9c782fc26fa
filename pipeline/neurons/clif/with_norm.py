"""CLIF after a batch norm, for `pipeline.kernels.norm_neuron`: its kernels with their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.norm_neuron import Affine, InputGradients, Outputs
from pipeline.neurons.clif import cpu_with_norm_kernels as clif_cpu_with_norm

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

    def forward(self, x: _Array, states: list[_Array], norm: Affine, filled: Outputs) -> Callable[..., None]:
        """See `Steps`."""
        (v, m), (v_after, m_after) = states, filled.states
        tau, v_threshold = _float(self.tau), _float(self.v_threshold)
        return partial(
            clif_cpu_with_norm.forward,
            *(x, v, m, norm.scale, norm.shift, tau, v_threshold),
            *(filled.spikes, v_after, m_after),
        )

    def backward(
        self, grads: Outputs, x: _Array, states: list[_Array], norm: Affine, filled: InputGradients
    ) -> Callable[..., None]:
        """See `Steps`."""
        (v, m), (grad_v, grad_m), (before_v, before_m) = states, grads.states, filled.states
        tau, v_threshold, alpha = _float(self.tau), _float(self.v_threshold), _float(self.alpha)
        return partial(
            clif_cpu_with_norm.backward,
            *(grads.spikes, grad_v, grad_m, x, v, m),
            *(norm.scale, norm.shift, norm.mean, tau, v_threshold, self.kind, alpha),
            *(filled.x, before_v, before_m, filled.sums),
        )

    @property
    def cuda_kernels(self) -> ModuleType:
        """See `Steps`."""
        from pipeline.neurons.clif import cuda_with_norm_kernels

        return cuda_with_norm_kernels
