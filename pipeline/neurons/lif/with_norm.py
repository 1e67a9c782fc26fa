"""LIF behind a batch norm, for `pipeline.kernels.norm_neuron`: its two kernels with their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.neurons.lif import cpu_with_norm as lif_cpu_with_norm

if TYPE_CHECKING:
    pass


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

    def forward(self, x: _Array, states: list[_Array], norm: list[_Array], filled: list[_Array]) -> Callable[..., None]:
        """See `Steps`."""
        settings = _float(self.keep), _float(self.v_threshold), _float(self.reset)
        return partial(lif_cpu_with_norm.forward, x, *states, *norm, *settings, *filled)

    def backward(
        self, grads: list[_Array], x: _Array, states: list[_Array], norm: list[_Array], filled: list[_Array]
    ) -> Callable[..., None]:
        """See `Steps`."""
        through = _float(0.0 if self.detach_reset else self.reset)
        settings = _float(self.keep), _float(self.v_threshold), _float(self.reset), through, self.kind
        return partial(lif_cpu_with_norm.backward, *grads, x, *states, *norm, *settings, _float(self.alpha), *filled)
