"""Where trials come from: a list that is known beforehand, or a search method that learns from earlier results.

A source keeps no state that is not in the folder: its next proposal follows from the trials proposed so far and from
their records in the ledger. A resumed search therefore continues as if it had never been interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pipeline.config.run_config import RunConfig


class TrialSource(Protocol):
    """Provides trials to `tune.trials.queue_and_retries.TrialQueue`."""

    @property
    def configs(self) -> Sequence[RunConfig]:
        """Every trial proposed so far, in order, finished ones included."""

    @property
    def open(self) -> Sequence[RunConfig]:
        """Those of `configs` that are to be run if they are unfinished, or failed in an earlier session."""

    @property
    def exhausted(self) -> bool:
        """Whether `ask` will never propose another trial, whatever the results of the running ones."""

    def ask(self) -> Sequence[RunConfig]:
        """More trials to run, which `configs` then includes; none while it waits for others or if it is exhausted."""

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """A trial ended, with this record in the ledger."""


class FixedTrials:
    """Trials that are all known beforehand."""

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.configs = self.open = tuple(configs)
        self.exhausted = True

    def ask(self) -> Sequence[RunConfig]:
        """Nothing: all trials are known beforehand."""
        return ()

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """Ignore the result, on which no trial depends."""
