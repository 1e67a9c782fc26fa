"""Surrogate gradients by name: x = u - v_threshold, and alpha is their parameter, as in SpikingJelly's classes.

Names are checked without loading torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikingjelly.activation_based.surrogate import SurrogateFunctionBase

    from pipeline.config.config_sections import NeuronConfig

SURROGATES: dict[str, str | Callable[[float], Any]] = {
    "rect": "Rect",
    "triangle": "PiecewiseQuadratic",
    "sigmoid": "Sigmoid",
    "atan": "ATan",
}
"""Name to SpikingJelly's class, or to a registered function from alpha to a surrogate.

Every surrogate runs in PyTorch; fused kernels exist for the classes in `pipeline.kernels.surrogate_kernels.KINDS`.
"""


def surrogate_errors(name: str) -> Iterator[str]:
    """A line if there is no surrogate of this name."""
    if name not in SURROGATES:
        near = difflib.get_close_matches(name, SURROGATES, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "Register others with pipeline.register_surrogate."
        yield f"neuron.surrogate: expected one of {', '.join(SURROGATES)}, found '{name}'. {hint}"


def make_surrogate(config: NeuronConfig) -> SurrogateFunctionBase:
    """The surrogate of a configuration.

    rect: alpha where |x| < 0.5 / alpha, else 0 (the paper's, at alpha = 1); triangle: SpikingJelly's
    PiecewiseQuadratic, alpha * (1 - alpha |x|) where |x| < 1 / alpha; sigmoid and atan as their names say.
    """
    from spikingjelly.activation_based import surrogate

    make = SURROGATES[config.surrogate]
    if isinstance(make, str):
        return getattr(surrogate, make)(alpha=config.alpha)
    return make(config.alpha)
