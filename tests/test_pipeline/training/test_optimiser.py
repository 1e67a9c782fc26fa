"""The optimisers are PyTorch's, but without the compiler that PyTorch's own import at their first step."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pipeline.config.run_config import OptimiserConfig
from pipeline.training.optimiser import make_optimiser

CONFIGS = {
    "sgd": (OptimiserConfig(name="sgd", learning_rate=0.1, weight_decay=0.01), torch.optim.SGD, {"momentum": 0.9}),
    "adamw": (OptimiserConfig(name="adamw", learning_rate=0.1, weight_decay=0.01), torch.optim.AdamW, {}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_optimiser_steps_and_resumes_as_that_of_pytorch(name: str):
    config, theirs, options = CONFIGS[name]
    networks = [torch.nn.Linear(4, 2).double() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.randn(4, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    optimisers = [
        make_optimiser(networks[0], config),
        theirs(networks[1].parameters(), lr=0.1, weight_decay=0.01, **options),
    ]
    for k, batch in enumerate(x):
        for network, optimiser in zip(networks, optimisers, strict=True):
            optimiser.zero_grad()
            network(batch).square().sum().backward()
            optimiser.step()
        if k == 1:  # as when a run is resumed, in either direction
            states = [optimiser.state_dict() for optimiser in optimisers]
            for optimiser, state in zip(optimisers, reversed(states), strict=True):
                optimiser.load_state_dict(state)
        assert torch.equal(networks[0].weight, networks[1].weight)


PROGRAM = """
import sys, torch
from pipeline.cost.operations import count_operations
from pipeline.config.run_config import OptimiserConfig
from pipeline.evaluation.wilson_interval import accuracy_interval
from pipeline.training import train_run
from pipeline.training.optimiser import make_optimiser
from tune.stats.summary import t_interval

network = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.Flatten())
count_operations(network, torch.ones(1, 1, 2, 4, 4)[0])
for name in ("sgd", "adamw", "lamb"):
    optimiser = make_optimiser(network, OptimiserConfig(name=name))
    optimiser.zero_grad()
    network(torch.ones(1, 2, 4, 4)).sum().backward()
    optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
accuracy_interval(3, 4)
t_interval([0.1, 0.2])
print([name for name in ("torch._dynamo", "torch._inductor", "sympy", "scipy.stats") if name in sys.modules])
"""


@pytest.mark.slow
def test_a_training_process_loads_neither_pytorchs_compiler_nor_scipy_stats():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
