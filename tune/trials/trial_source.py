"""Where trials come from: a list that is known beforehand, or a method that looks at what came of the earlier ones.

A source never keeps a state that the search's folder does not hold: what it would ask next follows from the trials that
were asked for and from what the ledger says of them. So a resumed search goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pipeline.config.run_config import RunConfig


class TrialSource(Protocol):
    """What `tune.trials.trial_queue.TrialQueue` asks for trials."""

    @property
    def configs(self) -> Sequence[RunConfig]:
        """Every trial that was asked for so far, in order; finished ones among them."""

    @property
    def open(self) -> Sequence[RunConfig]:
        """Those of `configs` that run now where they are unfinished; ones that failed in an earlier session too."""

    @property
    def exhausted(self) -> bool:
        """Whether `ask` will never give another one, whatever comes of those that run."""

    def ask(self) -> Sequence[RunConfig]:
        """More trials to run, added to `configs`; none where it has to wait for others to end, or is exhausted."""

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """A trial ended, with its record in the ledger."""


class FixedTrials:
    """Trials that are all known beforehand."""

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.configs = self.open = tuple(configs)
        self.exhausted = True

    def ask(self) -> Sequence[RunConfig]:
        return ()

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        pass
