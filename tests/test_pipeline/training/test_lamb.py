"""LAMB is the paper's algorithm as timm has it, written down again for one tensor in float64."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from pipeline.config.run_config import OptimiserConfig
from pipeline.training.lamb import Lamb
from pipeline.training.optimiser import make_optimiser


def plain_lamb(weights: np.ndarray, gradients: list[np.ndarray], rate: float, decay: float) -> np.ndarray:
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for t, gradient in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-6) + decay * weights
        ratio = 1.0
        if decay > 0 and np.any(weights) and np.any(step):
            ratio = np.sqrt((weights**2).sum()) / np.sqrt((step**2).sum())
        weights = weights - rate * ratio * step
    return weights


@pytest.mark.parametrize("decay", [0.0, 0.06])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_steps_are_the_papers(scale: float, decay: float):
    rng = np.random.default_rng(0)
    start = scale * rng.normal(size=(4, 3))
    gradients = [rng.normal(size=(4, 3)) for _ in range(5)]
    weights = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = Lamb([weights], lr=0.02, weight_decay=decay)
    for gradient in gradients:
        weights.grad = torch.from_numpy(gradient)
        optimiser.step()
    np.testing.assert_allclose(weights.detach(), plain_lamb(start, gradients, 0.02, decay), rtol=1e-12, atol=1e-15)


def test_a_tensor_that_needs_no_step_stays():
    """Neither 0 / 0 nor a step of one without a gradient."""
    still, unused = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.ones(2))
    optimiser = Lamb([still, unused], lr=0.1, weight_decay=0.1)
    still.grad = torch.zeros(3)
    optimiser.step()
    assert still.tolist() == [0, 0, 0] and unused.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_weights_alone_have_weight_decay_without_that_of_biases(name: str):
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    config = OptimiserConfig(name=name, weight_decay=0.1, weight_decay_of="weights")  # type: ignore[arg-type]
    decay = {
        id(tensor): group["weight_decay"]
        for group in make_optimiser(network, config).param_groups
        for tensor in group["params"]
    }
    assert {word: decay[id(tensor)] for word, tensor in network.named_parameters()} == {
        "0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0
    }  # fmt: skip


def test_a_resumed_optimiser_steps_as_one_that_was_not_interrupted():
    networks = [torch.nn.Linear(3, 2) for _ in range(2)]
    config = OptimiserConfig(name="lamb", learning_rate=0.1, weight_decay_of="weights")
    networks[1].load_state_dict(networks[0].state_dict())
    optimisers = [make_optimiser(network, config) for network in networks]
    for k, x in enumerate(torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))):
        if k == 2:
            optimisers[1] = make_optimiser(networks[1], config)
            optimisers[1].load_state_dict(deepcopy(optimisers[0].state_dict()))
        for network, optimiser in zip(networks, optimisers, strict=True):
            optimiser.zero_grad()
            network(x).square().sum().backward()
            optimiser.step()
    assert torch.equal(networks[0].weight, networks[1].weight) and torch.equal(networks[0].bias, networks[1].bias)
