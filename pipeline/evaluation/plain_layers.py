"""A network in evaluation mode as SpikingJelly's own convolutions, linear layers, average poolings and neurons.

Batch norm is then an affine map of each channel and is folded into the convolution before it; in a pre-activation
network, into all that its input is the sum of. Adaptive pooling is linear and is folded into the following linear
layer; dropout has no effect.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from pipeline.layers.blocks import ConvBlock
from pipeline.layers.dense import DenseBlock, RecurrentBlock
from pipeline.layers.pooling import AveragePool
from pipeline.networks import reset_network
from pipeline.networks.fc_snn import FullyConnected
from pipeline.networks.modified_plif_net import ModifiedPLIFNet
from pipeline.networks.ms_resnet import MembraneBlock, MSResNet
from pipeline.networks.sew_resnet import SEWBlock
from pipeline.networks.snn4 import SNN4
from pipeline.networks.snn5 import SNN5
from pipeline.networks.spiking_resnet import PreActivationBlock, SpikingResNet
from pipeline.networks.spiking_vgg import SpikingVGG
from pipeline.networks.vggsnn import VGGSNN
from pipeline.networks.wide_7b import Wide7B

_CLASSES = (SpikingVGG, VGGSNN, SNN4, SNN5, ModifiedPLIFNet, Wide7B, SpikingResNet, MSResNet, FullyConnected)


class Residual(nn.Module):
    """The sum of two branches; a shortcut of None is the input itself."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to the shape of the branch's output."""
        return self.branch(x) + (x if self.shortcut is None else self.shortcut(x))


def plain_network(network: nn.Module, size: tuple[int, int]) -> nn.Sequential:
    """Convert a network to SpikingJelly's multi-step layers with the same output in evaluation mode.

    Args:
        network: One of `_CLASSES`, with LIF or IF neurons.
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
        return nn.Sequential(*_fully_connected(network)).eval().requires_grad_(False)
    plain = nn.Sequential()
    for name, module in _features(network):
        plain.add_module(name, module)
    plain.add_module("flatten", layer.Flatten(step_mode="m"))
    rows, columns = _last_map(network, size)
    if isinstance(network, ModifiedPLIFNet):
        plain.add_module("hidden", fold_pooling(network.pool, network.hidden.linear, rows, columns))
        plain.add_module("hidden_neuron", _plain_neuron(network.hidden.neuron))
        plain.add_module("classifier", fold_pooling(nn.Identity(), network.classifier, 1, 1))
    else:
        plain.add_module("classifier", fold_pooling(network.pool, network.classifier, rows, columns))
    return plain.eval().requires_grad_(False)


def _fully_connected(network: FullyConnected) -> Iterator[nn.Module]:
    yield layer.Flatten(step_mode="m")
    for name, block in network.hidden.named_children():
        if not isinstance(block, DenseBlock) or isinstance(block, RecurrentBlock):
            raise ValueError(f"{name}: expected a layer without recurrent connections, found {type(block)}")
        scale, shift = _affine(block.norm)
        linear = layer.Linear(block.linear.in_features, block.linear.out_features, step_mode="m")
        linear = linear.to(block.linear.weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(block.linear.weight.double() * scale[:, None])
            linear.bias.copy_(shift)
        yield linear
        yield _plain_neuron(block.neuron)
    yield fold_pooling(nn.Identity(), network.classifier, 1, 1)


def _last_map(network: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the input of the network's last pooling."""
    assert isinstance(network.pool, nn.Module)
    seen: list[torch.Size] = []
    hook = network.pool.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape))
    first = next(network.parameters())
    trains = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 1, first.shape[1], *size, dtype=first.dtype, device=first.device))
    finally:
        hook.remove()
        network.train(trains)
        reset_network(network)
    return seen[0][-2], seen[0][-1]


def _features(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers before the last pooling, by name."""
    if isinstance(network, SpikingResNet):
        yield from _pre_activation(network)
    elif isinstance(network, MSResNet):
        yield "stem", fold_batch_norm(network.stem, network.stem_norm)
        for stage, blocks in network.stages.named_children():
            for name, block in blocks.named_children():
                assert isinstance(block, MembraneBlock)
                yield f"{stage}_{name}", _membrane_block(block)
        yield "last_neuron", _plain_neuron(network.neuron)
    else:
        features = network.features
        assert isinstance(features, nn.Sequential)
        for name, block in features.named_children():
            if isinstance(block, ConvBlock):
                yield name, fold_batch_norm(block.conv, block.norm)
                yield f"{name}_neuron", _plain_neuron(block.neuron)
            elif isinstance(block, AveragePool):
                yield name, layer.AvgPool2d(2, step_mode="m")
            elif isinstance(block, SEWBlock):
                yield name, _sew_block(block)
            else:
                raise ValueError(f"{name}: expected a convolution or an average pooling, found {type(block)}")


def _conv_and_neuron(block: ConvBlock) -> list[nn.Module]:
    return [fold_batch_norm(block.conv, block.norm), _plain_neuron(block.neuron)]


def _sew_block(block: SEWBlock) -> Residual:
    shortcut = None if block.shortcut is None else nn.Sequential(*_conv_and_neuron(block.shortcut))
    return Residual(nn.Sequential(*_conv_and_neuron(block.conv1), *_conv_and_neuron(block.conv2)), shortcut)


def _membrane_block(block: MembraneBlock) -> Residual:
    shortcut = None if block.shortcut is None else fold_batch_norm(block.shortcut, block.shortcut_norm)
    branch = nn.Sequential(
        _plain_neuron(block.neuron1),
        fold_batch_norm(block.conv1, block.norm1),
        _plain_neuron(block.neuron2),
        fold_batch_norm(block.conv2, block.norm2),
    )
    return Residual(branch, shortcut)


def _pre_activation(network: SpikingResNet) -> Iterator[tuple[str, nn.Module]]:
    """A neuron, and the block up to the batch norm of the next block's first neuron, for each block in turn."""
    blocks = [
        (f"{stage}_{name}", block)
        for stage, blocks in network.stages.named_children()
        for name, block in blocks.named_children()
        if isinstance(block, PreActivationBlock)
    ]
    norms = [*(block.norm1 for _, block in blocks), network.norm]
    yield "stem", fold_batch_norm(network.stem, norms[0])
    for (name, block), following in zip(blocks, norms[1:], strict=True):
        yield f"{name}_neuron", _plain_neuron(block.neuron1)
        branch = nn.Sequential(
            fold_batch_norm(block.conv1, block.norm2),
            _plain_neuron(block.neuron2),
            fold_batch_norm(block.conv2, following),
        )
        yield name, Residual(branch, _scaled_shortcut(block, following))
    yield "last_neuron", _plain_neuron(network.neuron)


def _scaled_shortcut(block: PreActivationBlock, following: nn.BatchNorm2d) -> layer.Conv2d:
    """The shortcut times the scale of the batch norm that reads the sum, whose shift is already in the branch."""
    scale, _ = _affine(following)
    channels = block.conv2.out_channels
    if block.shortcut is None:
        eye = torch.eye(channels, dtype=torch.float64, device=scale.device)[..., None, None]
        return _convolution(block.conv2.weight.dtype, eye * scale[:, None, None, None], torch.zeros_like(scale))
    weight, bias = block.shortcut.weight, block.shortcut.bias
    assert bias is not None
    folded = weight.double() * scale[:, None, None, None], bias.double() * scale
    return _convolution(weight.dtype, *folded, like=block.shortcut)


def _affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch norm in evaluation mode as x * scale + shift, float64 (C,)."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _convolution(
    dtype: torch.dtype, weight: torch.Tensor, bias: torch.Tensor, like: nn.Conv2d | None = None
) -> layer.Conv2d:
    """A convolution with these weights, on the CPU, with the stride and padding of another one or 1 and 0."""
    out, channels, *kernel = weight.shape
    stride, padding = (1, 0) if like is None else (like.stride, like.padding)
    made = layer.Conv2d(channels, out, tuple(kernel), stride, padding, step_mode="m").to(dtype)
    assert made.bias is not None
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> layer.Conv2d:
    """Fold batch norm in evaluation mode into the preceding convolution; the result has a bias."""
    # Computed in float64, so that only the result is rounded.
    scale, shift = _affine(norm)
    bias = shift if conv.bias is None else conv.bias.double() * scale + shift
    return _convolution(conv.weight.dtype, conv.weight.double() * scale[:, None, None, None], bias, like=conv)


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
