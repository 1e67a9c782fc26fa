"""The network of a run on its device, from its configuration and the form of its frames."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.networks import build_network
from pipeline.networks.class_contract import check_own_classes


def make_run_network(
    config: RunConfig,
    *,
    classes: int,
    size: tuple[int, int],
    timesteps: int,
    device: torch.device,
    leave_cuda: bool = False,
    given: nn.Module | None = None,
) -> nn.Module:
    """Build a run's network and move it to a device; classes of one's own are tried before anything is trained.

    Args:
        config: Of the run.
        classes: How many logits.
        size: Height and width of what enters the network.
        timesteps: T, the longest sample's where it varies.
        device: Where to compute.
        leave_cuda: Whether code that asks for CUDA in vain is left to a run that has it.
        given: A network object of the class that `network.name` names, used instead of building one.

    Raises:
        ConfigError: If there is no such network or neuron, frames are too small for it, or a class of one's own does
            not keep to what `pipeline.networks.class_contract` says.
    """
    network = given
    if network is None:
        network = build_network(
            config.network, config.neuron, channels=2, classes=classes, size=size, timesteps=timesteps, seed=config.seed
        )
    network.to(device)
    form = {"classes": classes, "size": size, "timesteps": timesteps, "device": device}
    check_own_classes(network, config, **form, leave_cuda=leave_cuda)  # type: ignore[arg-type]
    return network
