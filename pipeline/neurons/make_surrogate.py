"""Surrogate gradients as SpikingJelly's classes define them: x = u - v_threshold, and alpha is their parameter."""

from __future__ import annotations

from spikingjelly.activation_based import surrogate

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import SURROGATES


def make_surrogate(config: NeuronConfig) -> surrogate.SurrogateFunctionBase:
    """The surrogate of a configuration.

    rect: alpha where |x| < 0.5 / alpha, else 0 (the paper's, at alpha = 1); triangle: SpikingJelly's
    PiecewiseQuadratic, alpha * (1 - alpha |x|) where |x| < 1 / alpha; sigmoid and atan as their names say.
    """
    make = SURROGATES[config.surrogate]
    if isinstance(make, str):
        return getattr(surrogate, make)(alpha=config.alpha)
    return make(config.alpha)
