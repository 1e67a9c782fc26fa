"""A trained network as a NIR graph (Pedersen et al., 2024), for other frameworks and for neuromorphic chips.

The graph is the network in evaluation, layer by layer, and goes through SpikingJelly's exchange: batch norm is an
affine map of each channel then and is folded into the convolution in front of it, adaptive pooling is linear and is
folded into the linear layer behind it, dropout does nothing. It takes encoded frames (2, H, W), one a time step, and
gives logits; the sum over steps and the choice of the largest are no part of it.

NIR's neurons are differential equations; SpikingJelly writes them for Euler steps of `TIME_STEP_S`. Either rule for
the input fits: the resistance is 1 where the input decays and tau / dt where it does not. The reset must go to a
fixed value, which is also the one that the potential leaks to. NIR's neurons fire above the threshold, SpikingJelly's
at it too.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.layers.blocks import ConvBlock
from pipeline.layers.pooling import AveragePool
from pipeline.networks.snn5 import SNN5
from pipeline.networks.spiking_vgg import PLANS as VGG_PLANS
from pipeline.networks.spiking_vgg import SpikingVGG
from pipeline.networks.vggsnn import VGGSNN
from pipeline.runs.result_json import NirResult
from preprocess.errors import ConfigError
from preprocess.files import write_whole

TIME_STEP_S = 1e-4
"""SpikingJelly's default, and that of most frameworks that read NIR."""

NETWORKS = (*VGG_PLANS, "vggsnn", "snn5")
_CLASSES = (SpikingVGG, VGGSNN, SNN5)


def refuse_inexpressible(config: RunConfig) -> None:
    """Raise a ConfigError with everything of a configuration that NIR cannot express, or that the export needs."""
    errors = []
    name = config.neuron.name
    if name not in ("lif", "if"):
        errors.append(f"neuron.name: NIR has no node for '{name}'; expected lif or if, with neuron.reset hard")
    elif config.neuron.reset != "hard":
        errors.append(
            f"neuron.reset: NIR's {name.upper()} resets to a fixed value (hard reset); this run's neuron resets "
            "softly. Train with --neuron.reset hard to export"
        )
    if config.network.name not in NETWORKS:
        errors.append(
            f"network.name: NIR export is for {', '.join(NETWORKS)}; found '{config.network.name}'. Max pooling, for "
            "one, has no node in NIR"
        )
    if any(find_spec(package) is None for package in ("nir", "nirtorch")):
        errors.append("--nir: expected the package nir: pip install 'spikeloom[nir]'")
    if errors:
        raise ConfigError(*errors)


def plain_network(network: nn.Module, size: tuple[int, int]) -> nn.Sequential:
    """A chain of SpikingJelly's multi-step layers that computes what a network computes in evaluation.

    Args:
        network: A `SpikingVGG`, `VGGSNN` or `SNN5` with LIF or IF neurons.
        size: Height and width of a frame.

    Returns:
        Frames (T, B, channels, H, W) to logits (T, B, classes), on the CPU, in the type of the network's weights.

    Raises:
        ValueError: If the network has a layer that this does not know.
    """
    if not isinstance(network, _CLASSES):
        raise ValueError(f"expected one of {', '.join(kind.__name__ for kind in _CLASSES)}, found {type(network)}")
    rows, columns = size
    plain = nn.Sequential()
    for name, block in network.features.named_children():
        if isinstance(block, ConvBlock):
            conv = fold_batch_norm(block.conv, block.norm)
            plain.add_module(name, conv)
            plain.add_module(f"{name}_neuron", _plain_neuron(block.neuron))
            # Kernels are 3x3 with a border of 1, so that only strides shrink a map.
            rows, columns = -(-rows // int(conv.stride[0])), -(-columns // int(conv.stride[1]))
        elif isinstance(block, AveragePool):
            plain.add_module(name, layer.AvgPool2d(2, step_mode="m"))
            rows, columns = rows // 2, columns // 2
        else:
            raise ValueError(f"{name}: expected a convolution or an average pooling, found {type(block)}")
    plain.add_module("flatten", layer.Flatten(step_mode="m"))
    plain.add_module("classifier", fold_pooling(network.pool, network.classifier, rows, columns))
    return plain.eval().requires_grad_(False)


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> layer.Conv2d:
    """The convolution that equals a convolution and the batch norm behind it in evaluation; has a bias."""
    assert norm.running_mean is not None and norm.running_var is not None
    # In float64: what is rounded is the result alone.
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    folded = layer.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, step_mode="m"
    ).to(conv.weight.dtype)
    assert folded.bias is not None
    with torch.no_grad():
        folded.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        folded.bias.copy_((bias - norm.running_mean.double()) * scale + norm.bias.double())
    return folded


def fold_pooling(pool: nn.Module, linear: nn.Linear, rows: int, columns: int) -> layer.Linear:
    """The linear layer on maps of rows x columns that equals a pooling and the linear layer behind it.

    Works for every pooling that is linear and treats channels alike: adaptive pooling to any size, to copies as well
    as to means, and none at all.
    """
    # What the pooling makes of each single pixel is its matrix, (rows * columns, pixels of the pooled map).
    pixels = torch.eye(rows * columns, dtype=torch.float64).view(-1, 1, rows, columns)
    matrix = pool(pixels).flatten(1)
    weight = linear.weight.detach().cpu().double().unflatten(1, (-1, matrix.shape[1]))
    folded = layer.Linear(weight.shape[1] * rows * columns, linear.out_features, step_mode="m").to(linear.weight.dtype)
    with torch.no_grad():
        folded.weight.copy_((weight @ matrix.T).flatten(1))
        folded.bias.copy_(linear.bias)
    return folded


def _plain_neuron(node: nn.Module) -> nn.Module:
    """SpikingJelly's own class with the same settings: its exchange knows classes by name, not by descent."""
    if isinstance(node, neuron.LIFNode):
        return neuron.LIFNode(node.tau, node.decay_input, node.v_threshold, node.v_reset, step_mode="m")
    if isinstance(node, neuron.IFNode):
        return neuron.IFNode(node.v_threshold, node.v_reset, step_mode="m")
    raise ValueError(f"expected LIF or IF, found {type(node)}")


def export_nir(network: nn.Module, size: tuple[int, int], path: Path, channels: int = 2) -> NirResult:
    """Write a network as a NIR graph, whole or not at all.

    Args:
        network: As for `plain_network`, its neurons with the hard reset.
        size: Height and width of a frame.
        path: The file.
        channels: Of a frame.

    Returns:
        `file`; `time_step_s`, the length of a time step that the neurons' constants are for; `nodes`.

    Raises:
        RunError: If the file cannot be written.
    """
    import nir
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    plain = plain_network(network, size)
    example = torch.zeros(1, 1, channels, *size, dtype=next(plain.parameters()).dtype)
    graph = export_to_nir(plain, example, dt=TIME_STEP_S)
    write_whole(path, lambda temporary: nir.write(temporary, graph))
    return {"file": str(path), "time_step_s": TIME_STEP_S, "nodes": len(graph.nodes)}


class ReadNetwork(nn.Module):
    """A network read from a NIR file: frames (T, B, channels, H, W) to logits (T, B, classes), from rest each time."""

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        self.graph = import_from_nir(path, dt=TIME_STEP_S, device=str(device), step_mode="m")

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        logits, _ = self.graph(frames)
        return logits
