"""Export a trained network as a NIR graph (Pedersen et al., 2024), for other frameworks and neuromorphic chips.

The graph is the network in evaluation mode, layer by layer, and is written by SpikingJelly's NIR exchange. Batch norm
is then an affine map of each channel and is folded into the preceding convolution; adaptive pooling is linear and is
folded into the following linear layer; dropout has no effect. The input is encoded frames (C, H, W), one per time step,
and the output is logits. The graph does not include their sum over time steps and the prediction.

NIR defines neurons by differential equations, which SpikingJelly writes for Euler steps of `TIME_STEP_S`. Both input
rules can be expressed: the resistance is 1 if the input decays and tau / dt if it does not. The reset must be to a
fixed value, which is also the leak potential. Neurons in NIR fire if the potential exceeds the threshold, those of
SpikingJelly also if it equals the threshold.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.layers.blocks import ConvBlock
from pipeline.layers.dense import DenseBlock, RecurrentBlock
from pipeline.layers.pooling import AveragePool
from pipeline.networks.fc_snn import FullyConnected
from pipeline.networks.snn4 import SNN4
from pipeline.networks.snn5 import SNN5
from pipeline.networks.spiking_vgg import PLANS as VGG_PLANS
from pipeline.networks.spiking_vgg import SpikingVGG
from pipeline.networks.vggsnn import VGGSNN
from pipeline.runs.result_json import NirResult
from preprocess.errors import ConfigError
from preprocess.files import write_whole

TIME_STEP_S = 1e-4
"""The default of SpikingJelly and of most frameworks that read NIR."""

NETWORKS = (*VGG_PLANS, "vggsnn", "snn4", "snn5", "fc-snn")
_CLASSES = (SpikingVGG, VGGSNN, SNN4, SNN5, FullyConnected)


def refuse_inexpressible(config: RunConfig) -> None:
    """Raise a ConfigError if NIR cannot express the network of a configuration, or a required package is missing."""
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
            f"network.name: NIR export is for {', '.join(NETWORKS)}; found '{config.network.name}'. Max pooling, "
            "residual and recurrent connections and attention, for example, cannot be written"
        )
    if any(find_spec(package) is None for package in ("nir", "nirtorch")):
        errors.append("--nir: expected the package nir: pip install 'spikeloom[nir]'")
    if errors:
        raise ConfigError(*errors)


def plain_network(network: nn.Module, size: tuple[int, int]) -> nn.Sequential:
    """Convert a network to a sequence of SpikingJelly's multi-step layers with the same output in evaluation mode.

    Args:
        network: A `SpikingVGG`, `VGGSNN`, `SNN4`, `SNN5` or `FullyConnected` with LIF or IF neurons.
        size: Height and width of a frame.

    Returns:
        A network from frames (T, B, channels, H, W) to logits (T, B, classes), on the CPU, with weights of the same
        type.

    Raises:
        ValueError: If the network has an unsupported layer.
    """
    if not isinstance(network, _CLASSES):
        raise ValueError(f"expected one of {', '.join(kind.__name__ for kind in _CLASSES)}, found {type(network)}")
    if isinstance(network, FullyConnected):
        return _plain_fully_connected(network)
    rows, columns = size
    plain = nn.Sequential()
    for name, block in network.features.named_children():
        if isinstance(block, ConvBlock):
            conv = fold_batch_norm(block.conv, block.norm)
            plain.add_module(name, conv)
            plain.add_module(f"{name}_neuron", _plain_neuron(block.neuron))
            rows, columns = _size_after(conv, rows, columns)
        elif isinstance(block, AveragePool):
            plain.add_module(name, layer.AvgPool2d(2, step_mode="m"))
            rows, columns = rows // 2, columns // 2
        else:
            raise ValueError(f"{name}: expected a convolution or an average pooling, found {type(block)}")
    plain.add_module("flatten", layer.Flatten(step_mode="m"))
    plain.add_module("classifier", fold_pooling(network.pool, network.classifier, rows, columns))
    return plain.eval().requires_grad_(False)


def _size_after(conv: nn.Conv2d, rows: int, columns: int) -> tuple[int, int]:
    (kernel, _), (stride, _), padding = conv.kernel_size, conv.stride, conv.padding[0]
    after = [(pixels + 2 * int(padding) - kernel) // stride + 1 for pixels in (rows, columns)]
    return after[0], after[1]


def _plain_fully_connected(network: FullyConnected) -> nn.Sequential:
    plain = nn.Sequential()
    plain.add_module("flatten", layer.Flatten(step_mode="m"))
    for name, block in network.hidden.named_children():
        if not isinstance(block, DenseBlock) or isinstance(block, RecurrentBlock):
            raise ValueError(f"{name}: expected a layer without recurrent connections, found {type(block)}")
        scale, shift = _affine(block.norm)
        linear = layer.Linear(block.linear.in_features, block.linear.out_features, step_mode="m")
        linear = linear.to(block.linear.weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(block.linear.weight.double() * scale[:, None])
            linear.bias.copy_(shift)
        plain.add_module(name, linear)
        plain.add_module(f"{name}_neuron", _plain_neuron(block.neuron))
    classifier = layer.Linear(network.classifier.in_features, network.classifier.out_features, step_mode="m")
    classifier.load_state_dict(network.classifier.state_dict())
    plain.add_module("classifier", classifier.to(network.classifier.weight.dtype))
    return plain.eval().requires_grad_(False)


def _affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch norm in evaluation mode as x * scale + shift, float64 (C,), so that only the result is rounded."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> layer.Conv2d:
    """Fold batch norm in evaluation mode into the preceding convolution; the result has a bias."""
    scale, shift = _affine(norm)
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    folded = layer.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, step_mode="m"
    ).to(conv.weight.dtype)
    assert folded.bias is not None
    with torch.no_grad():
        folded.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        folded.bias.copy_(bias * scale + shift)
    return folded


def fold_pooling(pool: nn.Module, linear: nn.Linear, rows: int, columns: int) -> layer.Linear:
    """Fold a pooling of maps of rows x columns into the following linear layer.

    Works for every linear pooling that is the same for all channels: adaptive pooling to any size, smaller or larger,
    and the identity.
    """
    # Pooling an image with a single pixel gives a row of its matrix, (rows * columns, pixels of the pooled map).
    pixels = torch.eye(rows * columns, dtype=torch.float64).view(-1, 1, rows, columns)
    matrix = pool(pixels).flatten(1)
    weight = linear.weight.detach().cpu().double().unflatten(1, (-1, matrix.shape[1]))
    folded = layer.Linear(weight.shape[1] * rows * columns, linear.out_features, step_mode="m").to(linear.weight.dtype)
    with torch.no_grad():
        folded.weight.copy_((weight @ matrix.T).flatten(1))
        folded.bias.copy_(linear.bias)
    return folded


def _plain_neuron(node: nn.Module) -> nn.Module:
    """Convert a neuron to SpikingJelly's own class, because its exchange does not recognise subclasses."""
    if isinstance(node, neuron.LIFNode):
        return neuron.LIFNode(node.tau, node.decay_input, node.v_threshold, node.v_reset, step_mode="m")
    if isinstance(node, neuron.IFNode):
        return neuron.IFNode(node.v_threshold, node.v_reset, step_mode="m")
    raise ValueError(f"expected LIF or IF, found {type(node)}")


def export_nir(network: nn.Module, size: tuple[int, int], path: Path, *, channels: int) -> NirResult:
    """Write a network as a NIR graph, completely or not at all.

    Args:
        network: As for `plain_network`, with hard reset.
        size: Height and width of a frame.
        path: The file.
        channels: Number of channels of a frame.

    Returns:
        `file`; `time_step_s`, the time step that the constants of the neurons assume; `nodes`, their number.

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
    """A network read from a NIR file: frames (T, B, channels, H, W) to logits (T, B, classes), always from rest."""

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        self.graph = import_from_nir(path, dt=TIME_STEP_S, device=str(device), step_mode="m")

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        logits, _ = self.graph(frames)
        return logits
