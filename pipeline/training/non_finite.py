"""What happens when a loss is NaN or infinite: training stops, and names the layer at fault and what may help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.data.loader import Batch
from pipeline.networks import reset_network
from pipeline.training.learner import Learner
from preprocess.errors import RunError


def check_finite(
    folder: Path, learner: Learner, epoch: int, losses: Sequence[torch.Tensor], steps: int, batch: Batch
) -> None:
    """Stop training if a loss is not finite.

    Args:
        folder: The run's folder.
        learner: The network and its configuration.
        epoch: The number of the epoch.
        losses: The last losses, those that were not checked before.
        steps: The number of steps of this epoch, up to the last of `losses`.
        batch: The last batch.

    Raises:
        RunError: If one is not finite; it names the step, the first layer with such a value and what may help.
    """
    wrong = torch.nonzero(~torch.isfinite(torch.stack(list(losses))))
    if not len(wrong):
        return
    first = int(wrong[0])
    with learner.autocast():
        layer = find_layer(learner.network, batch.frames)
    raise RunError(
        f"{folder}: expected a finite loss, found {float(losses[first])} at step {steps - len(losses) + first + 1} of "
        f"epoch {epoch}. First non-finite value: {layer}. {advice(learner.config, learner.precision)}"
    )


def advice(config: RunConfig, precision: str) -> str:
    """What to do about a loss that is not finite."""
    clips = "" if config.optimiser.clip_norm is not None else ", set optimiser.clip_norm 1"
    precise = "" if precision == "fp32" else ", or choose precision fp32"
    return f"Lower optimiser.learning_rate{clips}{precise}."


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
