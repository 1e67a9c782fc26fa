"""Early stopping that is fair to neurons and to T: successive halving among trials that share both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from pipeline.config.run_config import RunConfig, fingerprint, from_dict
from preprocess.binning.binning_config import Binning
from tune.trials.ledger import Ledger

GRACE_EPOCHS = 2
REDUCTION = 4

Stratum = tuple[str, Binning, int, int]


def stratum_of(config: RunConfig) -> Stratum:
    """Trials are only ever stopped in favour of others with the same neuron, binning, number of epochs and seed.

    Neurons and values of T learn at different speeds, so early scores would rank them wrongly; and a cosine schedule
    over more epochs has another learning rate at the same epoch. Within a stratum every epoch costs the same samples x
    T, so counting epochs is counting compute. T alone does not define a stratum, because it is not fixed if bins have a
    duration. If configurations are repeated, a seed is compared with the same seed.
    """
    return config.neuron.name, config.binning, config.schedule.epochs, config.seed


class StratifiedASHA:
    """Asynchronous successive halving (Li et al., MLSys 2020), separately for each stratum.

    At epochs 2, 8, 32, ... a trial continues if its validation accuracy is in the top quarter of those trials of its
    stratum that reached the epoch before it; the first trial continues, and a trial at its last epoch is complete.
    """

    def __init__(self) -> None:
        self._strata: dict[Stratum, ASHAScheduler] = {}
        self._known: set[str] = set()

    def decide(self, config: RunConfig, row: Mapping[str, Any]) -> str:
        """Whether a trial continues after an epoch: CONTINUE or STOP."""
        stratum = stratum_of(config)
        if stratum not in self._strata:
            epochs = config.schedule.epochs
            self._strata[stratum] = ASHAScheduler(
                time_attr="epoch",
                metric="validation_accuracy",
                mode="max",
                max_t=epochs,
                grace_period=min(GRACE_EPOCHS, epochs),
                reduction_factor=REDUCTION,
                stop_last_trials=False,
            )
        # Identified by its fingerprint, because Ray sees a resumed trial as a new one.
        trial: Any = SimpleNamespace(trial_id=fingerprint(config))
        controller: Any = None
        if trial.trial_id not in self._known:
            self._known.add(trial.trial_id)
            self._strata[stratum].on_trial_add(controller, trial)
        decision = self._strata[stratum].on_trial_result(controller, trial, dict(row))
        return TrialScheduler.CONTINUE if row["epoch"] >= config.schedule.last_epoch else decision


class EpochScheduler(FIFOScheduler):
    """Decides after each epoch whether a trial continues: stops poor trials, and all of them at the time limit.

    A trial that is stopped for its score is recorded as pruned in the ledger; one that is stopped at the time limit has
    no end and continues when the search is resumed.
    """

    def __init__(self, ledger: Ledger, early_stopping: bool, late: Callable[[], bool]) -> None:
        super().__init__()
        self._ledger, self._late = ledger, late
        self._asha = StratifiedASHA() if early_stopping else None

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves this object to restore it later; here the ledger does that."""
        return {}

    def replay(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Replay the epochs in the ledger, so that a resumed search decides as if it had never been interrupted.

        Epochs are replayed in the order in which they ended. A stop at the last epoch that a trial wrote was due when
        the search was interrupted, and is applied now; one at an earlier epoch was not decided then, and is not now.

        Returns:
            The trials that are pruned by this.
        """
        if self._asha is None:
            return []
        reached: list[tuple[float, RunConfig, dict[str, Any], bool]] = []
        for config in configs:
            rows = self._ledger.metrics(config)
            ended = {row["epoch"]: row.get("ended", 0.0) for row in self._ledger.timings(config)}
            reached += [(ended.get(row["epoch"], 0.0), config, row, row is rows[-1]) for row in rows]
        due = []
        for _, config, row, last in sorted(reached, key=lambda epoch: epoch[0]):
            stops = self._asha.decide(config, row) == TrialScheduler.STOP
            if stops and last and self._ledger.read_done(config) is None:
                self._ledger.end(config, "pruned")
                due.append(config)
        return due

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ray's call after each epoch of a running trial."""
        config = from_dict(trial.config["task"]["config"])
        if self._asha is not None and self._asha.decide(config, result) == TrialScheduler.STOP:
            self._ledger.end(config, "pruned")
            return TrialScheduler.STOP
        last = result["epoch"] >= config.schedule.last_epoch
        return TrialScheduler.STOP if self._late() and not last else TrialScheduler.CONTINUE
