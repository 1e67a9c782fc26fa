"""Surrogate gradients by name, in SpikingJelly's words: x = u - v_threshold, alpha as its classes take it."""

from __future__ import annotations

from spikingjelly.activation_based import surrogate

from pipeline.config.run_config import NeuronConfig


def make_surrogate(config: NeuronConfig) -> surrogate.SurrogateFunctionBase:
    """The surrogate of a configuration.

    rect: alpha where |x| < 0.5 / alpha, else 0 (the paper's, at alpha = 1); triangle: SpikingJelly's
    PiecewiseQuadratic, alpha * (1 - alpha |x|) where |x| < 1 / alpha; sigmoid and atan as their names say.
    """
    kinds = {
        "rect": surrogate.Rect,
        "triangle": surrogate.PiecewiseQuadratic,
        "sigmoid": surrogate.Sigmoid,
        "atan": surrogate.ATan,
    }
    return kinds[config.surrogate](alpha=config.alpha)
