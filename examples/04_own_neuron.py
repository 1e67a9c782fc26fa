"""Use your own neuron in a built-in network: register it under a name, and use the name like a built-in one."""

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from pipeline import find_preset, override, register_neuron, train


class Adaptive(nn.Module):
    """A leaky neuron whose threshold rises with each spike: input (T, B, ...) to spikes of the same shape.

    It keeps no state from one batch to the next, so it needs no method `reset()`.
    """

    def __init__(self, tau: float, v_threshold: float) -> None:
        super().__init__()
        self.tau, self.v_threshold, self.surrogate = tau, v_threshold, surrogate.ATan()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = torch.zeros_like(x[0])
        rise = torch.zeros_like(v)
        spikes = []
        for current in x:
            v = v * (1 - 1 / self.tau) + current
            spike = self.surrogate(v - self.v_threshold - rise)
            v = v - spike * self.v_threshold
            rise = 0.9 * rise + 0.1 * spike
            spikes.append(spike)
        return torch.stack(spikes)


if __name__ == "__main__":
    register_neuron("adaptive", lambda config: Adaptive(config.tau, config.v_threshold))
    changes = {"neuron.name": "adaptive", "schedule.epochs": 2, "network.width": 0.25, "batch_size": 8}
    result = train(override(find_preset("gestures-small").config, changes), out="runs/adaptive", cache="cache")
    print(f"validation {result.validation_accuracy:.2%}, test {result.test_accuracy:.2%}")
    print(f"firing rates: { {name: round(rate, 3) for name, rate in result.firing_rates.items()} }")
