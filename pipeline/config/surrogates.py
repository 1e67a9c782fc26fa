"""Surrogate gradients by name; loads nothing, so that a configuration can be checked without torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

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
