"""Fully connected spiking layers, for sequences of vectors (T, B, features)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import MakeNeuron, fire, make_dropout, over_time
from preprocess.errors import ConfigError


class DenseBlock(nn.Module):
    """Linear layer without bias, batch norm, neuron, and dropout with one mask for all time steps."""

    def __init__(
        self,
        features: int,
        out: int,
        batch_norm: Literal["per-step", "joint"],
        make_neuron: MakeNeuron,
        dropout: float,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(features, out, bias=False)
        self.norm = SequenceBatchNorm(out, batch_norm)
        self.neuron = make_neuron()
        self.dropout = make_dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, features) to spikes (T, B, out)."""
        return self.dropout(fire(self.norm, self.neuron, self.current(x)).flatten(2))

    def current(self, x: torch.Tensor) -> torch.Tensor:
        """The linear layer, (T, B, features) to (T, B, out, 1, 1): batch norm takes maps, here of one pixel."""
        return over_time(self.linear, x)[..., None, None]


class RecurrentNeuron(nn.Module):
    """Neurons that also receive the spikes of their layer's previous time step, through a linear layer.

    Args:
        neuron: The neurons.
        features: Their number.

    Raises:
        ConfigError: If the neuron cannot run step by step, or limits how far gradients flow back.
    """

    is_neuron = True
    """To counters of spikes, it is one spiking layer."""

    def __init__(self, neuron: nn.Module, features: int) -> None:
        super().__init__()
        self.neuron = neuron
        self.recurrent = nn.Linear(features, features, bias=False)
        self._previous: torch.Tensor | None = None
        _check_runs_by_steps(neuron, features)
        # The neuron is called once per time step, so that every window would be cut after one step, as if it were 0.
        if (window := getattr(neuron, "temporal_window", None)) is not None:
            raise ConfigError(
                "neuron.temporal_window: expected none, because the neurons of recurrent networks run step by step, "
                f"found {window}. Remove it, or use network.name fc-snn."
            )

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        """Input current (T, B, features) to spikes of the same shape."""
        spikes = []
        for step in current:
            received = step if self._previous is None else step + self.recurrent(self._previous)
            self._previous = self.neuron(received[None])[0]
            spikes.append(self._previous)
        return torch.stack(spikes)

    def reset(self) -> None:
        """Forget the spikes of the last step."""
        self._previous = None


class RecurrentBlock(DenseBlock):
    """A dense block with recurrent connections: its neurons receive norm(W x[t]) + V s[t-1], where s[-1] is 0.

    (Bittar and Garner, Frontiers in Neuroscience 2022; without the norm: Cramer et al., IEEE TNNLS 2022.)

    Raises:
        ConfigError: If the neuron cannot run step by step.
    """

    def __init__(
        self,
        features: int,
        out: int,
        batch_norm: Literal["per-step", "joint"],
        make_neuron: MakeNeuron,
        dropout: float,
    ) -> None:
        super().__init__(features, out, batch_norm, make_neuron, dropout)
        self.neuron = RecurrentNeuron(self.neuron, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, features) to spikes (T, B, out)."""
        return self.dropout(self.neuron(self.norm(self.current(x)).flatten(2)))


def _check_runs_by_steps(neuron: nn.Module, features: int) -> None:
    """Compare a sequence with its steps: a neuron that needs all of them at once refuses one, or gives other spikes."""
    x = 3 * torch.rand(3, 1, features, generator=torch.Generator().manual_seed(0))
    reset = getattr(neuron, "reset", lambda: None)
    try:
        with torch.no_grad():
            whole = neuron(x)
            reset()
            steps = torch.cat([neuron(step[None]) for step in x])
            reset()
        fits = whole.shape == steps.shape and torch.allclose(whole, steps)
    except ConfigError:
        fits = False
    if not fits:
        raise ConfigError(
            "neuron.name: expected a neuron that runs step by step, because recurrent connections need its spikes "
            f"before the next step, found {type(neuron).__name__}, which needs all steps at once. Use lif, clif or "
            "another neuron with a membrane potential, or network.name fc-snn."
        )
