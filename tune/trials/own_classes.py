"""Neurons and networks of one's own, tried before the first trial rather than by each of them."""

from __future__ import annotations

from dataclasses import replace

import torch

from pipeline.config.run_config import RunConfig
from pipeline.data.encoding import input_size
from pipeline.networks.run_network import make_run_network
from pipeline.neurons import make_neuron
from preprocess.store.event_store import EventStore


def check_classes(config: RunConfig, store: EventStore) -> None:
    """Make a trial's neuron and network as the trial will, on this machine's CPU.

    Raises:
        ConfigError: If there is no such neuron or network, or a class of one's own does not keep to what
            `pipeline.networks.class_contract` says. Code that runs on CUDA alone is left to the trials.
    """
    # The neuron by itself first: a network that does not exist would hide its fault.
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
