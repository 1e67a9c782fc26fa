"""Find the layer that causes a loss that is NaN or infinite."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pipeline.networks import reset_network


def find_layer(network: nn.Module, frames: torch.Tensor) -> str:
    """Describe the first non-finite value for an error message, such as ``weight of features.conv1.conv``.

    Weights are checked before outputs: if an optimiser step made them non-finite, so are the outputs of all later
    layers.

    Args:
        network: The network in training mode; its running statistics may change.
        frames: The batch with the non-finite loss, float32 (T, B, C, H, W).
    """
    if not bool(torch.isfinite(frames).all()):
        return "the input frames"
    for name, parameter in network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            layer, _, what = name.rpartition(".")
            return f"{what} of {layer or 'the network'}"
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_watch(name, found))
        for name, module in network.named_modules()
        if name and not any(module.children())
    ]
    try:
        with torch.no_grad():
            reset_network(network)
            largest = float(network(frames).abs().max())
    finally:
        reset_network(network)
        for hook in hooks:
            hook.remove()
    return f"the output of {found[0]}" if found else f"only the loss, with logits up to {largest:.3g}"


def _watch(name: str, found: list[str]) -> Any:
    def look(_module: nn.Module, _inputs: object, out: object) -> None:
        if not found and isinstance(out, torch.Tensor) and not bool(torch.isfinite(out).all()):
            found.append(name)

    return look
