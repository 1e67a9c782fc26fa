"""The memory that a forward pass keeps for the backward pass, measured while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import nn

from pipeline.data.loader import Batch


class Kept:
    """Memory that a forward pass keeps: saved tensors and neuron states, without parameters and frames.

    Attributes:
        batch: The input.
        bytes: Size of all memory that is kept, each storage counted once.
    """

    def __init__(self, network: nn.Module, batch: Batch) -> None:
        self.batch = batch
        self.bytes = 0
        self._apart = {_place(x) for x in (batch.frames, batch.labels, *network.parameters(), *network.buffers())}
        self._pieces: dict[int, int] = {}

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Record a tensor; returns it detached, because its history would keep it alive."""
        if _place(tensor) not in self._apart:
            self._pieces[_place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    def close(self, network: nn.Module) -> None:
        """Add the states of the neurons, and sum up."""
        for module in network.modules():
            if isinstance(module, MemoryModule):
                for state in module.memories():
                    if isinstance(state, torch.Tensor):
                        self.add(state)
        self.bytes = sum(self._pieces.values())


@contextmanager
def keeping(network: nn.Module, batch: Batch) -> Iterator[Kept]:
    """Measure what a forward pass in its context keeps; `Kept.bytes` is set afterwards.

    Custom functions and operators are counted too, because all of them save through autograd.
    """
    kept = Kept(network, batch)
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        yield kept
    kept.close(network)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
