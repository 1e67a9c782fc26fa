"""A neuron of your own in a built-in network: name its class, here of this file, as path/to/file.py:Class."""

import torch
from spikingjelly.activation_based import base

from pipeline import override, train


class Adaptive(base.MemoryModule):
    """A leaky neuron whose threshold rises with each spike. Input (T, B, ...) to spikes of the same shape."""

    def __init__(self, surrogate_function, tau=2.0, v_threshold=1.0, step_mode="m"):
        super().__init__()
        self.tau, self.v_threshold, self.surrogate_function = tau, v_threshold, surrogate_function
        self.step_mode = step_mode
        self.register_memory("v", 0.0)  # cleared by reset()
        self.register_memory("a", 0.0)

    def single_step_forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v = self.v * (1 - 1 / self.tau) + x
        spike = self.surrogate_function(self.v - self.v_threshold - self.a)
        self.v = self.v - spike * self.v_threshold
        self.a = 0.9 * self.a + 0.1 * spike
        return spike


if __name__ == "__main__":
    from pipeline import find_preset

    changes = {"neuron.name": f"{__file__}:Adaptive", "schedule.epochs": 2, "network.width": 0.25, "batch_size": 8}
    result = train(override(find_preset("gestures-small").config, changes), out="runs/adaptive", cache="cache")
    print(f"validation {result.validation_accuracy:.2%}, test {result.test_accuracy:.2%}")
    print(f"firing rates: { {name: round(rate, 3) for name, rate in result.firing_rates.items()} }")
