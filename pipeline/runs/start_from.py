"""Where a run starts: from scratch, from its own last checkpoint, or from that of another run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.config.run_config import OptimiserConfig, RunConfig, fingerprint
from pipeline.runs.changed_code import KEY, check_code, joined_records
from pipeline.runs.run_folder import Run, open_run
from preprocess.errors import RunError


def check_beginning(config: RunConfig, folder: Path, *, accept_changed_code: bool) -> list[dict[str, str]]:
    """Return the changes in custom code since the checkpoint that a run continues from.

    Args:
        config: The run's configuration.
        folder: The run folder, which may not exist yet.
        accept_changed_code: Whether changes are accepted and recorded; see `pipeline.runs.changed_code`.

    Raises:
        RunError: If the folder contains another run, there is no run to start from, or changes are not accepted.
    """
    origin = None
    if (folder / "config.json").exists():
        origin = open_run(folder)
        if fingerprint(origin.config) != fingerprint(config):
            raise RunError(
                f"{folder}: expected run {fingerprint(config)}, found run {fingerprint(origin.config)} of another "
                "configuration. Choose another --out."
            )
        if not (folder / "checkpoint.pt").exists() and origin.result is None:
            origin = None
    if origin is None and config.start_from is not None:
        origin = find_start(config, folder)
    if origin is None:
        return []
    # The configuration's classes are the ones that will be loaded.
    changed = check_code(replace(origin, config=config, accept_changed_code=accept_changed_code))
    return joined_records(origin.environment.get(KEY, ()), changed)


def find_start(config: RunConfig, folder: Path) -> Run:
    """Open the run that `start_from` names: a path, or the name of a folder next to the run's own.

    Args:
        config: Configuration of the run that starts from it; `start_from` is set.
        folder: The folder of the run that starts from it.

    Raises:
        RunError: If there is no such run, it has no checkpoint yet, or its optimiser's state does not fit this run's.
    """
    assert config.start_from is not None
    origin = open_run(folder.parent / Path(config.start_from).expanduser())
    if not (origin.folder / "checkpoint.pt").is_file():
        raise RunError(
            f"{origin.folder}: expected a checkpoint to start from, found none after {len(origin.metrics)} epochs. "
            f"Train it first: spikeloom train --resume {origin.folder}"
        )
    for expected, found in _optimiser_differences(origin.config.optimiser, config.optimiser):
        raise RunError(
            f"start_from: expected {expected}, as in {origin.folder}, whose optimiser state this run continues, found "
            f"{found}. Use the same optimiser in both runs."
        )
    return origin


def _optimiser_differences(origin: OptimiserConfig, own: OptimiserConfig) -> Iterator[tuple[str, str]]:
    """Iterate over what makes the state of an optimiser useless for another one, as texts of both."""
    # AdamW and LAMB have the same moments, and SGD can begin without its own.
    if origin.name == "sgd" and own.name != "sgd":
        yield f"optimiser.name {origin.name}", f"optimiser.name {own.name}"
    texts = {False: "weight decay of all parameters or none", True: "weight decay of weights only"}
    # Parameters without weight decay are then a group of their own.
    before, now = (texts[each.weight_decay > 0 and each.weight_decay_of == "weights"] for each in (origin, own))
    if before != now:
        yield before, now


def same_selection(origin: RunConfig, config: RunConfig) -> bool:
    """Whether the best epoch so far remains comparable: the same network, selected on the same samples."""
    return _selection_fields(origin) == _selection_fields(config)


def _selection_fields(config: RunConfig) -> tuple[object, ...]:
    dataset = replace(config.dataset, augmentation="none")
    network = replace(config.network, dropout=0.0)
    return config.selection, dataset, config.binning, config.input, network, config.neuron
