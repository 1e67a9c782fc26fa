"""Which layers of a deep network figures show; tables have all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

MOST_LAYERS = 3


def shown_layers(layers: Sequence[T], most: int = MOST_LAYERS) -> list[T]:
    """All layers, or the first, the last and some evenly between them."""
    if len(layers) <= most:
        return list(layers)
    return [layers[round(k * (len(layers) - 1) / (most - 1))] for k in range(most)]
