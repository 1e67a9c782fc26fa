"""VGGs built from SpikingJelly 2.0's multi-step layers, and the check that each block computes what ours does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, layer
from torch import Tensor, nn

from benchmarks.neuron_peers import make_spikingjellys
from pipeline.layers.blocks import Plan, over_time, scaled


def make_peer(
    plan: Plan,
    neuron: str,
    *,
    channels: int,
    classes: int,
    size: int,
    width: float = 1.0,
    pooled: int | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Build a network whose parameters are in the order of ours.

    Args:
        plan: Convolutions and average poolings, as for our network.
        neuron: clif or lif.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame.
        width: Multiplies the channels.
        pooled: Side of the adaptive pooling before the linear layer; None for none.
        dropout: Share that a dropout behind each neuron drops.
    """
    modules: list[nn.Module] = []
    side = size
    for step in plan:
        if not isinstance(step, int):
            modules.append(layer.AvgPool2d(2))
            side //= 2
            continue
        out = scaled(step, width)
        modules += [layer.Conv2d(channels, out, 3, padding=1), layer.BatchNorm2d(out), make_spikingjellys(neuron)]
        if dropout:
            modules.append(layer.Dropout(dropout))
        channels = out
    if pooled is not None:
        modules.append(layer.AdaptiveAvgPool2d(pooled))
        side = pooled
    modules += [layer.Flatten(), layer.Linear(channels * side * side, classes)]
    network = nn.Sequential(*modules)
    functional.set_step_mode(network, "m")
    return network


def check_blocks(name: str, ours: nn.Module, theirs: nn.Sequential, frames: Tensor) -> float:
    """Check that every block of both networks gives the same spikes and gradients for the same input.

    Blocks are compared separately: a potential within rounding of the threshold fires in one network and not in the
    other, and eight layers later a tenth of the spikes differ, as those of SpikingJelly in float32 and float64 do.

    Args:
        name: For the error.
        ours: A network with `features`, `pool` and `classifier`, without dropout.
        theirs: As made by `make_peer` without dropout, with the same weights.
        frames: (T, B, C, H, W).

    Returns:
        The largest distance of gradients, as a fraction.

    Raises:
        SystemExit: If a block does not.
    """
    layers, x = list(theirs), frames
    worst = 0.0
    for part, block in [*ours.features.named_children(), ("classifier", _Head(ours))]:  # type: ignore[union-attr, operator]
        taken = len(layers) if part == "classifier" else {"p": 1, "c": 3}[part[0]]
        peer, layers = nn.Sequential(*layers[:taken]), layers[taken:]
        mine, expected = (both_ways(one, x, list(one.parameters())) for one in (block, peer))
        worst, x = max(worst, distance(f"{name}, {part}", mine, expected)), expected[0]
    return worst


class _Head(nn.Module):
    """The layers after the last pooling of our network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.pool, self.classifier = network.pool, network.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(over_time(self.pool, x).flatten(2))  # type: ignore[operator, arg-type]


def both_ways(part: Callable[[Tensor], Tensor], x: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """The output, and the gradients of input and parameters for a fixed gradient of the output."""
    x = x.detach().clone().requires_grad_()
    out = part(x)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype).to(out.device)
    found = torch.autograd.grad(out, [x, *parameters], grad, allow_unused=True)
    return out.detach(), torch.cat([part.flatten() for part in found if part is not None])


def distance(name: str, mine: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> float:
    """The distance of the gradients of two results of `both_ways`, as a fraction; SystemExit if they are not equal."""
    flips = float((mine[0] - theirs[0]).abs().gt(1e-3).double().mean())
    apart = relative(mine[1], theirs[1])
    if not (flips < 1e-4 and apart < 0.02):
        raise SystemExit(f"benchmarks: {name}: {flips:.1e} of the outputs differ, gradients {apart:.2g}")
    return apart


def relative(mine: Tensor, theirs: Tensor) -> float:
    """The norm of the difference as a fraction of that of their tensor."""
    return float((mine - theirs).norm() / theirs.norm().clamp(min=1e-12))
