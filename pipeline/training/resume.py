"""Resume a run from a checkpoint: check that it belongs to the run and its data, and restore what learns from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pipeline.runs import checkpoint as checkpoints
from pipeline.runs.checkpoint import CHECKPOINT, PARTS, Checkpoint
from pipeline.runs.result_json import MetricsRow
from pipeline.training.learner import Learner
from preprocess.errors import RunError
from preprocess.files import read_lines
from preprocess.terminal.progress import Progress

_RECORDED = ("device", "precision", "processes", "threads", "micro_batch")


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
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
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
