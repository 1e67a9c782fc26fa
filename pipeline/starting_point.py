"""A run that goes on from another: whose weights, optimiser state and epochs it takes up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.runs import Run, open_run
from preprocess.errors import RunError


def find_start(config: RunConfig, folder: Path) -> Run:
    """The run that `start_from` names: a path, or the name of a folder beside the run's own.

    Args:
        config: Of the run that goes on; `start_from` is set.
        folder: Its own folder.

    Raises:
        RunError: If there is no such run, or it has no checkpoint yet.
    """
    assert config.start_from is not None
    origin = open_run(folder.parent / Path(config.start_from).expanduser())
    if not (origin.folder / "checkpoint.pt").is_file():
        raise RunError(
            f"{origin.folder}: expected a checkpoint to start from, found none after {len(origin.metrics)} epochs. "
            f"Train it first: spikeloom train --resume {origin.folder}"
        )
    return origin


def selects_alike(origin: RunConfig, config: RunConfig) -> bool:
    """Whether the best epoch so far of one may be the other's: the same network selected on the same samples."""
    return _selecting(origin) == _selecting(config)


def _selecting(config: RunConfig) -> tuple[object, ...]:
    dataset = replace(config.dataset, augmentation="none")
    network = replace(config.network, dropout=0.0)
    return config.selection, dataset, config.binning, config.input, network, config.neuron
