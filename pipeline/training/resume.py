"""Where a run starts: from scratch, from its own last checkpoint, or from that of another run.

Whether the folder and the checkpoint belong to the run and its data is checked here, and what learns is restored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pipeline.config.run_config import OptimiserConfig, RunConfig, fingerprint
from pipeline.runs import checkpoint as checkpoints
from pipeline.runs.changed_code import KEY, check_code, joined_records
from pipeline.runs.checkpoint import CHECKPOINT, PARTS, Checkpoint
from pipeline.runs.result_json import MetricsRow
from pipeline.runs.run_folder import Run, open_run
from pipeline.training.learner import Learner
from preprocess.errors import RunError
from preprocess.files import read_lines
from preprocess.terminal.progress import Progress

_RECORDED = ("device", "precision", "processes", "threads", "micro_batch")


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


def read_state(folder: Path, run: str, frames: str) -> tuple[Checkpoint, list[MetricsRow]]:
    """Read the last checkpoint of a run folder and the metrics of its epochs, without later rows.

    Args:
        folder: The run folder.
        run: Fingerprint of the run whose checkpoint is expected.
        frames: Fingerprint of the frames that are expected.

    Raises:
        RunError: If the checkpoint is damaged or belongs to another run or other frames, or metrics are missing.
    """
    path = folder / CHECKPOINT
    state = checkpoints.load_checkpoint(path)
    if state.data != frames:
        raise RunError(
            f"{path}: expected frames {state.data}, found {frames}: the data set was preprocessed from other files "
            "since. Train again in another --out."
        )
    if state.fingerprint != run:
        raise RunError(
            f"{path}: expected the checkpoint of run {run}, found that of {state.fingerprint}. Restore the checkpoint "
            "of this run, or train again in another --out."
        )
    rows = cast(list[MetricsRow], read_lines(folder / "metrics.jsonl"))
    rows = [row for row in rows if row["epoch"] <= state.epoch]
    if [row["epoch"] for row in rows] != list(range(1, state.epoch + 1)):
        raise RunError(
            f"{folder}/metrics.jsonl: expected the rows of epochs 1 to {state.epoch}, found {len(rows)}. Restore the "
            "file, or train again in another --out."
        )
    return state, rows


def restore_learner(learner: Learner, state: Checkpoint, folder: Path) -> None:
    """Restore network, optimiser and random states; RunError if they do not fit the configuration."""
    try:
        checkpoints.check_shapes(folder / CHECKPOINT, learner.network, state.network)
        learner.restore({part: getattr(state, part) for part in PARTS})
        checkpoints.restore_random_states(state.random)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{folder / CHECKPOINT}: expected a checkpoint of this configuration, found one that does not fit it "
            f"({reason}). Train again in another --out."
        ) from None


def note_changed_environment(folder: Path, before: dict[str, Any], now: dict[str, Any], progress: Progress) -> None:
    """Print a note for each entry of ``environment.json`` that changes results in their last digits."""
    for what in _RECORDED:
        if what in before and before[what] != now[what]:
            progress.note(
                f"{folder}: trained with {what} {before[what]} and continued with {now[what]}: results will differ in "
                "the last digits from those of an uninterrupted run"
            )
