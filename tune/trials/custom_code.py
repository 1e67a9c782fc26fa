"""Custom neurons and networks of trials: tested once before the first trial, and refused if their files change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.config.run_config import RunConfig
from pipeline.runs.changed_code import CodeChange, changed_code_error
from preprocess.store.event_store import EventStore
from preprocess.store.frame_cache import FrameCache
from tune.trials.ledger import BASIS, Ledger


def check_folder_code(folder: Path, *, accept: bool) -> None:
    """Refuse to continue if files changed since the trials of a folder; accepted changes are listed in `basis.json`.

    Args:
        folder: The folder of a search or comparison, existing or not.
        accept: Whether changes are accepted; later trials then use the files as they are now.

    Raises:
        RunError: With a line for each changed file.
    """
    changes = folder_changes(folder)
    if changes and not accept:
        raise changed_code_error(folder, changes)
    for ledger in _ledgers(folder):
        if mine := ledger.changed_code():
            ledger.accept(mine)


def folder_changes(folder: Path) -> list[CodeChange]:
    """The changed files of a folder's trials, including those of its tuning and final evaluation; each file once."""
    return list(dict.fromkeys(change for ledger in _ledgers(folder) for change in ledger.changed_code()))


def _ledgers(folder: Path) -> list[Ledger]:
    return [Ledger(path.parent) for path in sorted(folder.rglob(BASIS))]


def check_classes(config: RunConfig, store: EventStore | FrameCache) -> bool:
    """Build a trial's neuron and network as the trial will, on this machine's CPU.

    Returns:
        Whether the network uses the neuron; a custom network may make all its spiking layers itself.

    Raises:
        ConfigError: If there is no such neuron or network, or a custom class does not meet the requirements of
            `pipeline.networks.custom_class_contract`. Code that runs only on CUDA is left to the trials.
    """
    import torch

    from pipeline.data.input_encoding import input_size
    from pipeline.networks.run_network import make_run_network
    from pipeline.networks.spiking_layers import has_configured_neuron
    from pipeline.neurons import make_neuron

    # The neuron alone first: a network that does not exist would hide the neuron's error.
    make_neuron(replace(config.neuron, timesteps=config.binning.timesteps))
    size = input_size(config.input, *config.binning.size(store.height, store.width))
    network = make_run_network(
        config,
        classes=len(store.classes),
        size=size,
        timesteps=config.binning.timesteps,
        device=torch.device("cpu"),
        leave_cuda=True,
    )
    return has_configured_neuron(network)
