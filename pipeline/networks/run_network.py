"""The network of a run on its device, from its configuration and the shape of its frames."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.networks import build_network
from pipeline.networks.custom_class_contract import check_own_classes


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
    """Build a run's network and move it to a device; custom classes are tested before anything is trained.

    Args:
        config: Configuration of the run.
        classes: Number of logits.
        size: Height and width of the network's input.
        timesteps: T; the longest sample's if it varies.
        device: Device of the network.
        leave_cuda: Whether to accept custom code that fails here for lack of CUDA.
        given: A network object of the class that `network.name` names, used instead of building one.

    Raises:
        ConfigError: If there is no such network or neuron, frames are too small for it, or a custom class does not meet
            the contract in `pipeline.networks.custom_class_contract`.
    """
    network = given
    if network is None:
        network = build_network(
            config.network,
            config.neuron,
            channels=config.input.channels,
            classes=classes,
            size=size,
            timesteps=timesteps,
            seed=config.seed,
        )
    network.to(device)
    form = {"classes": classes, "size": size, "timesteps": timesteps, "device": device}
    check_own_classes(network, config, **form, leave_cuda=leave_cuda)  # type: ignore[arg-type]
    return network
