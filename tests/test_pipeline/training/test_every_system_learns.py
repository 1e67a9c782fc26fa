"""Every network with one neuron, and every neuron with one network, learns to tell crops of three photographs apart."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from image_files import PHOTOGRAPHS, crops

from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import RunConfig, from_dict
from pipeline.data.loader import Batch
from pipeline.evaluation.losses import predict
from pipeline.kernels.tensors import repeated
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.networks import NETWORKS, SpikeCounter
from pipeline.networks.run_network import make_run_network
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner

CROPS = 24
# Of 24 crops, chance gives more than 14 right with a probability of 0.3 %.
ABOVE_CHANCE = 14


class Effort(NamedTuple):
    """How a system is trained; the default suits most."""

    updates: int = 12
    learning_rate: float = 1e-2
    width: float = 1 / 8
    side: int = 32


EFFORTS = {
    **dict.fromkeys(("spiking-vgg16", "spiking-vgg19", "tc-lif"), Effort(24, 3e-3)),
    **dict.fromkeys(("spiking-vgg-small", "psn"), Effort(24)),
    "spiking-resnet18": Effort(24, side=16),
    "spiking-resnet34": Effort(36, 3e-3),
    "sew-resnet34": Effort(36, 3e-3, side=16),
    # Without poolings for which images must be large.
    **dict.fromkeys(("spikformer", "spike-driven-transformer", "wide-7b"), Effort(side=16)),
    **dict.fromkeys(("plif-net-cifar10", "modified-plif-net-cifar10"), Effort(20, side=16)),
}

# Three time steps, because what some neurons learn has an effect on the third.
LONG = ("spiking-vgg11", "spiking-resnet34")
SYSTEMS = [*((name, "lif", 2) for name in NETWORKS), *(("snn4", name, 3) for name in NEURONS if name != "lif")]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def photographs(timesteps: int, side: int) -> Batch:
    """Crops as the network sees images: normalised, and the same at each time step."""
    pixels, labels = crops(CROPS, side, test=False)
    return Batch(repeated((torch.from_numpy(pixels).float() - 128) / 64, timesteps), torch.from_numpy(labels))


def small(network: str, neuron: str, timesteps: int, effort: Effort) -> RunConfig:
    return from_dict(
        {
            "dataset": {"name": "cifar10"},
            "input": {"encoding": "direct"},
            "binning": {"timesteps": timesteps},
            # Statistics of each step alone would need more updates to settle.
            "network": {"name": network, "width": effort.width, "head": "gap", "batch_norm": "joint"},
            # A surrogate that always passes a gradient: with the rectangle, deep and narrow networks may start silent.
            "neuron": {"name": neuron, "surrogate": "atan", "alpha": 2.0},
            "optimiser": {"name": "adamw", "learning_rate": effort.learning_rate},
            "batch_size": CROPS,
            "precision": "fp32",
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network_name", "neuron", "timesteps"),
    [pytest.param(*system, marks=pytest.mark.long if system[0] in LONG else ()) for system in SYSTEMS],
)
def test_it_learns(network_name: str, neuron: str, timesteps: int):
    effort = EFFORTS.get(network_name) or EFFORTS.get(neuron) or Effort()
    config, device = small(network_name, neuron, timesteps, effort), torch.device("cpu")
    size = (effort.side, effort.side)
    network = make_run_network(config, classes=PHOTOGRAPHS, size=size, timesteps=timesteps, device=device)
    learner, counter = Learner(config, network, device, Group()), SpikeCounter(network)
    batch = photographs(timesteps, effort.side)
    losses, without_gradient = [], {name for name, _ in network.named_parameters()}
    network.train()
    for module in network.modules():
        if isinstance(module, SequenceBatchNorm):
            # So that the running statistics follow in few updates.
            module.momentum = 0.5
    for _ in range(effort.updates):
        loss, _ = learner.loss(batch, counter)
        learner.update(loss)
        losses.append(float(loss.detach()))
        for name, parameter in network.named_parameters():
            if parameter.grad is not None and parameter.grad.any():
                without_gradient.discard(name)
    network.eval()
    with torch.no_grad():
        right = int((predict(network(batch.frames)) == batch.labels).sum())
    assert losses[-1] < 0.85 * losses[0]
    assert right > ABOVE_CHANCE
    assert not without_gradient
