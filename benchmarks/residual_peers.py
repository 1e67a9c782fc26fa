"""The CLIF authors' pre-activation residual network from SpikingJelly 2.0's layers and neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from spikingjelly.activation_based import functional, layer
from torch import Tensor, nn

from pipeline.layers.blocks import scaled
from pipeline.networks.residual_stages import CHANNELS, DEPTHS
from pipeline.networks.spiking_resnet import SpikingResNet

Make = Callable[[], nn.Module]
Part = Callable[[Tensor], Tensor]


class PeerBlock(nn.Module):
    """A block whose parameters are in the order of `pipeline.networks.spiking_resnet.PreActivationBlock`."""

    def __init__(self, channels: int, out: int, stride: int, make_neuron: Make, dropout: float) -> None:
        super().__init__()
        self.bn1, self.relu1 = layer.BatchNorm2d(channels), make_neuron()
        self.conv1 = layer.Conv2d(channels, out, 3, stride=stride, padding=1)
        self.bn2, self.relu2 = layer.BatchNorm2d(out), make_neuron()
        self.dropout = layer.Dropout(dropout)
        self.conv2 = layer.Conv2d(out, out, 3, padding=1)
        plain = stride == 1 and channels == out
        self.shortcut = nn.Identity() if plain else layer.Conv2d(channels, out, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.relu1(self.bn1(x))
        hidden = self.relu2(self.bn2(self.conv1(spikes)))
        return self.conv2(self.dropout(hidden)) + self.shortcut(spikes)


class PeerHead(nn.Module):
    """What follows the blocks."""

    def __init__(self, channels: int, classes: int, make_neuron: Make, dropout: float) -> None:
        super().__init__()
        self.bn, self.relu = layer.BatchNorm2d(channels), make_neuron()
        self.pool, self.dropout = layer.AdaptiveAvgPool2d(1), layer.Dropout(dropout)
        self.linear = layer.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(self.pool(self.relu(self.bn(x))).flatten(2)))


def make_peer(
    layers: int, channels: int, classes: int, make_neuron: Make, *, width: float = 1.0, dropout: float = 0.0
) -> nn.Sequential:
    """Build the network as a sequence of its stem, blocks and head, in multi-step mode."""
    now = scaled(CHANNELS[0], width)
    parts: list[nn.Module] = [layer.Conv2d(channels, now, 3, padding=1, bias=False)]
    for stage, (step, depth) in enumerate(zip(CHANNELS, DEPTHS[layers], strict=True)):
        out = scaled(step, width)
        for block in range(depth):
            parts.append(PeerBlock(now, out, 2 if stage and not block else 1, make_neuron, dropout))
            now = out
    network = nn.Sequential(*parts, PeerHead(now, classes, make_neuron, dropout))
    functional.set_step_mode(network, "m")
    return network


def parts_of(network: SpikingResNet) -> Iterator[tuple[str, Part, list[nn.Parameter]]]:
    """The parts of our network that correspond to those of `make_peer`: name, function and parameters."""
    yield "stem", partial(network.convolve, network.stem), list(network.stem.parameters())
    for name, stage in network.stages.named_children():
        for number, block in stage.named_children():
            yield f"{name}.{number}", block, list(block.parameters())
    head = (network.norm, network.neuron, network.classifier)
    yield "head", network.read_out, [parameter for module in head for parameter in module.parameters()]


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy our weights and statistics into a peer, whose layers are in the same order."""
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
