"""Custom neurons and networks, tested once before the first trial instead of by every trial."""

from __future__ import annotations

from dataclasses import replace

import torch

from pipeline.config.run_config import RunConfig
from pipeline.data.encoding import input_size
from pipeline.networks.run_network import make_run_network
from pipeline.neurons import make_neuron
from preprocess.store.event_store import EventStore


def check_classes(config: RunConfig, store: EventStore) -> None:
    """Build a trial's neuron and network as the trial will, on this machine's CPU.

    Raises:
        ConfigError: If there is no such neuron or network, or a custom class does not meet the requirements of
            `pipeline.networks.class_contract`. Code that runs only on CUDA is left to the trials.
    """
    # The neuron alone first: a network that does not exist would hide the neuron's error.
    make_neuron(replace(config.neuron, timesteps=config.binning.timesteps))
    size = input_size(config.input, *config.binning.size(store.height, store.width))
    make_run_network(
        config,
        classes=len(store.classes),
        size=size,
        timesteps=config.binning.timesteps,
        device=torch.device("cpu"),
        leave_cuda=True,
    )
