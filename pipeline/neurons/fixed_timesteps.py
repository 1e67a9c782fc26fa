"""SpikingJelly's neurons with weights for each time step, which work with one T only."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import neuron
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons.recomputation import RunsOnce
from preprocess.errors import ConfigError


class PSN(neuron.PSN):
    """The parallel spiking neuron (Fang et al., NeurIPS 2023): spikes where W x >= b, with W (T, T) learnt.

    Raises:
        ConfigError: If called with another T.
    """

    def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
        """Input (T, B, ...) to spikes of the same shape."""
        _check_timesteps("psn", self.T, x_seq)
        return super().forward(x_seq)


class GatedLIFNode(RunsOnce, neuron.GatedLIFNode):
    """The gated LIF neuron (Yao et al., NeurIPS 2022), its gates shared by a layer; conductance is learnt per step.

    Raises:
        ConfigError: If called with another T.
    """

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a whole sequence: x (T, B, ...) and v (B, ...) to spikes and the new v."""
        (x,), v = inputs, states[0]
        _check_timesteps("glif", self.T, x)
        # SpikingJelly's code expects four dimensions per step; the gates are the same for all elements.
        flat, shape = x.flatten(1)[:, None, None, None], x.shape[1:]
        (spikes,), states = super().multi_step_functional_forward((flat,), (v.reshape(flat.shape[1:]), states[1]))
        return (spikes.view(x.shape),), tuple(state.view(shape) for state in states)


def make_psn(config: NeuronConfig) -> nn.Module:
    """PSN with its own initial weights; tau and v_threshold have no effect."""
    return PSN(_timesteps(config), make_surrogate(config))


def make_glif(config: NeuronConfig) -> nn.Module:
    """GLIF with the initial values of its paper, which are learnt; tau and v_threshold have no effect."""
    node = GatedLIFNode(_timesteps(config), surrogate_function=make_surrogate(config))
    # SpikingJelly draws the gates from NumPy's global state, but a run is seeded through torch.
    for gate in (node.alpha, node.beta, node.gamma):
        nn.init.uniform_(gate, -0.1, 0.1)
    return node


def _timesteps(config: NeuronConfig) -> int:
    if config.timesteps is None:
        raise ConfigError(
            f"neuron.timesteps: expected a number of time steps for '{config.name}', which has weights for each step, "
            "found none. build_network sets it."
        )
    return config.timesteps


def _check_timesteps(name: str, expected: int, x: torch.Tensor) -> None:
    if len(x) != expected:
        raise ConfigError(
            f"neuron.name: expected T = {expected}, for which this '{name}' has weights, found T = {len(x)}. "
            "Train it again for this T, with grad_steps of all T."
        )
