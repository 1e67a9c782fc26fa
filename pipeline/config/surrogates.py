"""Surrogate gradients by name: x = u - v_threshold, and alpha is their parameter, as in SpikingJelly's classes.

Names are checked without loading torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from preprocess.errors import ConfigError
from preprocess.nearest_name import nearest_name

if TYPE_CHECKING:
    from spikingjelly.activation_based.surrogate import SurrogateFunctionBase

    from pipeline.config.sections.neuron_config import NeuronConfig

SURROGATES: dict[str, str | Callable[[float], Any]] = {
    "rect": "Rect",
    "triangle": "PiecewiseQuadratic",
    "sigmoid": "Sigmoid",
    "atan": "ATan",
}
"""Name to SpikingJelly's class, or to a registered function from alpha to a surrogate.

Every surrogate runs in PyTorch; fused kernels exist for the classes in `pipeline.kernels.surrogate_kernels.KINDS`.
"""


_STORED: set[str] = set()


def accept_stored(name: str) -> None:
    """Accept a surrogate of a stored configuration, which another program may have registered.

    Its results can then be read here. A network is only built with surrogates that this process knows.
    """
    _STORED.add(name)


def surrogate_errors(name: str) -> Iterator[str]:
    """A line if there is no surrogate of this name."""
    if name not in SURROGATES and name not in _STORED:
        near = nearest_name(name, SURROGATES)
        similar = f"Did you mean '{near}'? " if near else ""
        hint = f"{similar}In Python, register others with pipeline.register_surrogate before they are used."
        yield f"neuron.surrogate: expected one of {', '.join(SURROGATES)}, found '{name}'. {hint}"


def make_surrogate(config: NeuronConfig) -> SurrogateFunctionBase:
    """The surrogate of a configuration.

    rect: alpha where |x| < 0.5 / alpha, else 0 (the paper's, at alpha = 1); triangle: SpikingJelly's
    PiecewiseQuadratic, alpha * (1 - alpha |x|) where |x| < 1 / alpha; sigmoid and atan as their names say.
    """
    from spikingjelly.activation_based import surrogate

    if config.surrogate not in SURROGATES:
        raise ConfigError(
            f"neuron.surrogate: expected {', '.join(SURROGATES)}, found '{config.surrogate}'. Register it first, "
            "with pipeline.register_surrogate, as the program did that first used it."
        )
    make = SURROGATES[config.surrogate]
    if isinstance(make, str):
        return getattr(surrogate, make)(alpha=config.alpha)
    return _checked(config.surrogate, make, config.alpha)


def _checked(name: str, make: Callable[[float], Any], alpha: float) -> Any:
    """What a registered function makes, tried on a few values; raises ConfigError if it is not a surrogate."""
    import torch

    asked = f"neuron.surrogate: expected '{name}' to make, from alpha, a surrogate function with a gradient"
    example = "Return one of spikingjelly.activation_based.surrogate, or a function of the same interface."
    try:
        made = make(alpha)
        x = torch.linspace(-1.0, 1.0, 9, requires_grad=True)
        with torch.enable_grad():
            spikes = made(x) if callable(made) else None
    except Exception as error:  # whatever a user's code does
        raise ConfigError(f"{asked}, found {type(error).__name__}: {' '.join(str(error).split())}. {example}") from None
    if not isinstance(spikes, torch.Tensor) or spikes.shape != x.shape:
        raise ConfigError(f"{asked}, found {made!r}. {example}")
    if not spikes.requires_grad:
        raise ConfigError(f"{asked}, found spikes without one. {example}")
    return made
