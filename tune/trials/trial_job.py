"""The job that a search or comparison passes to `tune.trials.run_trials`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.run_config import RunConfig
from tune.resources.where_trials_run import ExecutionOptions

if TYPE_CHECKING:
    from tune.cluster.ray_session import RaySession


@dataclass(frozen=True)
class TrialJob:
    """The options for running the trials of one folder.

    Attributes:
        folder: The folder of the search or comparison.
        cache: The folder of all caches; missing frame caches are built before the trials start.
        execution: Where and how long trials run.
        open_test: Whether trials are evaluated on the test set at their end.
        count: The number of trials in all; None if the source knows all of them already.
        representatives: Configurations that represent trials the source has not proposed yet: every class that they may
            use, and the most expensive one.
        early_stopping: Whether poor trials are stopped before their last epoch (`tune.trials.successive_halving`).
        accumulate: Whether a trial that does not fit in memory is tried again with gradient accumulation over
            smaller micro-batches.
        fields: The searched field paths, for tables; None for those in which the trials differ.
        train_samples: The number of training samples of each trial, for `status.json`; None if it differs.
        resume: The command that resumes after the cluster's head was lost or the disk was full.
        locked: Whether the caller holds the folder's lock already.
        session: The Ray session that these trials share with earlier and later ones.
    """

    folder: Path
    cache: Path
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    open_test: bool = False
    count: int | None = None
    representatives: tuple[RunConfig, ...] = ()
    early_stopping: bool = False
    accumulate: bool = True
    fields: Sequence[str] | None = None
    train_samples: int | None = None
    resume: str = ""
    locked: bool = False
    session: RaySession | None = None
