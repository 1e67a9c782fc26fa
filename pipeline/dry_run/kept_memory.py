"""The memory that a forward pass keeps for the backward pass, measured while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import nn

from pipeline.data.loader import Batch
from pipeline.kernels.norm_neuron import run_length


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
        self._more = 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Record a tensor; returns it detached, because its history would keep it alive."""
        if _place(tensor) not in self._apart:
            self._pieces[_place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    def add_runs(self, neuron: MemoryModule, _args: Any, keywords: dict[str, Any], spikes: torch.Tensor) -> None:
        """A hook that adds the float32 states which a neuron behind a batch norm saves on CUDA, and not on the CPU."""
        if keywords.get("norm") is not None and torch.is_grad_enabled():
            runs = -(-len(spikes) // run_length(len(spikes)))
            self._more += 4 * runs * len(list(neuron.memories())) * spikes[0].numel()

    def close(self, network: nn.Module) -> None:
        """Add the states of the neurons, and sum up."""
        for module in network.modules():
            if isinstance(module, MemoryModule):
                for state in module.memories():
                    if isinstance(state, torch.Tensor):
                        self.add(state)
        self.bytes = sum(self._pieces.values()) + self._more


@contextmanager
def keeping(network: nn.Module, batch: Batch, *, as_cuda: bool = False) -> Iterator[Kept]:
    """Measure what a forward pass in its context keeps; `Kept.bytes` is set afterwards.

    Custom functions and operators are counted too, because all of them save through autograd. With `as_cuda`, what
    neurons behind batch norms keep on CUDA alone is added.
    """
    kept = Kept(network, batch)
    neurons = [module for module in network.modules() if as_cuda and isinstance(module, MemoryModule)]
    hooks = [neuron.register_forward_hook(kept.add_runs, with_kwargs=True) for neuron in neurons]
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        yield kept
    for hook in hooks:
        hook.remove()
    kept.close(network)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
