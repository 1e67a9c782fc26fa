"""Random numbers of torchvision's transforms from a generator of our own."""

from __future__ import annotations

from typing import Any

import torch
from numpy.random import Generator
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset({torch.rand, torch.randint, torch._sample_dirichlet})


class DrawingFrom(TorchFunctionMode):
    """Random numbers that torch draws in the block, in this thread, come from a seed that the generator draws.

    torchvision draws from torch's global generator, which other threads use too, and whose state is part of a run's.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(int(generator.integers(0, 1 << 62)))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **({"generator": self._generator} | kwargs if func in _DRAWS else kwargs))
