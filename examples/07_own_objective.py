"""Search over your own training loop: a function of a dict of values that reports a score once per epoch."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tune import load_results, search


def objective(values, report):
    """Classify noise whose rate rises or falls over time."""
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 8)[:, None, None]
    y = torch.arange(64) % 2
    x = (torch.rand(8, 64, 16) < torch.where(y[:, None] == 1, ramp, 1 - ramp)).float()
    network = nn.Sequential(
        layer.Linear(16, values["width"], step_mode="m"),
        neuron.LIFNode(tau=values["tau"], step_mode="m"),
        layer.Linear(values["width"], 2, step_mode="m"),
    )
    optimiser = torch.optim.Adam(network.parameters(), values["lr"])
    for _ in range(8):
        logits = network(x)[-1]
        loss = nn.functional.cross_entropy(logits, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        functional.reset_net(network)
        report((logits.argmax(1) == y).float().mean(), loss=loss)


if __name__ == "__main__":
    space = {"lr": "0.001:0.1:log", "width": "16,32", "tau": "1.5:4"}
    found = search(objective=objective, space=space, samples=6, epochs=8, out="runs/objective")
    print(f"best {found.best}: {found.score:.2%}")
    print(load_results("runs/objective").to_string())
