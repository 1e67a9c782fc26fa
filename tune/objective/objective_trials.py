"""Run the trials of an objective with Ray: in parallel, with early stopping, and with a record of every report."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray.tune as ray_tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from preprocess.interrupts import raise_if_stopped
from preprocess.terminal.progress import Progress
from tune.cluster.ray_session import ray_running, stdout_without_ray
from tune.objective.objective_search import Objective, ObjectiveLedger, ObjectiveSearch, Report, trial_id
from tune.objective.objective_space import Values
from tune.resources.where_trials_run import ExecutionOptions
from tune.trials.queue_and_retries import TRIES
from tune.trials.successive_halving import GRACE_EPOCHS, REDUCTION
from tune.trials.trial_summaries import forget_summaries
from tune.trials.worker import describe

# Seconds between updates of the tables while trials run.
_REFRESH_S = 5.0


def run_objective_trials(
    search: ObjectiveSearch,
    objective: Objective,
    ledger: ObjectiveLedger,
    execution: ExecutionOptions,
    progress: Progress,
) -> None:
    """Run the unfinished trials of the ledger; Ray's own files go to a temporary folder."""
    request = execution.request
    scheduler = _Scheduler(search, ledger)
    scheduler.replay()
    waiting = ledger.unfinished()
    if not waiting:
        return
    resources = {"cpu": request.cpus or 1, "gpu": request.gpus or 0}
    scratch = ledger.folder / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)
    with ray_running(execution.address), stdout_without_ray():
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(ray_tune.with_parameters(_run_trial, objective=objective), resources),
            param_space={"values": ray_tune.grid_search([json.dumps(values) for values in waiting])},
            tune_config=ray_tune.TuneConfig(
                scheduler=scheduler,
                max_concurrent_trials=request.concurrent,
                # A process of its own for each trial takes seconds, mostly to load the libraries.
                reuse_actors=True,
                time_budget_s=None if execution.hours is None else 3600 * execution.hours,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=ray_tune.RunConfig(
                name="trials",
                storage_path=str(scratch),
                callbacks=[_Recorder(ledger, progress)],
                failure_config=ray_tune.FailureConfig(max_failures=TRIES - 1),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _run_trial(parameters: dict[str, Any], objective: Objective) -> None:
    """Run one trial in a Ray worker; an exception of the objective is reported, and the search continues."""
    values = json.loads(parameters["values"])
    _seed(int(trial_id(values), 16))
    try:
        objective(values, Report(ray_tune.report))
    except Exception as error:
        ray_tune.report({"end": "failed", "error": f"{describe(error)}{_place(error, objective)}"})
    else:
        ray_tune.report({"end": "done"})


def _seed(number: int) -> None:
    """Seed every generator that is loaded, because trials share processes: a trial draws the same in any of them."""
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number % 2**63)


def _place(error: Exception, objective: Objective) -> str:
    """Where the objective failed: the last line of its own file that was running; empty if there is none."""
    own = getattr(getattr(objective, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f" ({Path(own).name}, line {lines[-1]})" if own and lines else ""


def _values_of(trial: Any) -> Values:
    found: Values = json.loads(trial.config["values"])
    return found


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """The report of the objective, without the values that Ray adds."""
    added = {"timestamp", "done", "trial_id", "date", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip"}
    added |= {"config", "time_since_restore", "iterations_since_restore", "training_iteration", "checkpoint_dir_name"}
    return {name: value for name, value in result.items() if name not in added}


class _Scheduler(FIFOScheduler):
    """Asynchronous successive halving over the reported scores, replayed from the ledger when a search resumes."""

    def __init__(self, search: ObjectiveSearch, ledger: ObjectiveLedger) -> None:
        super().__init__()
        self._search, self._ledger = search, ledger
        self._known: set[str] = set()
        self._asha: ASHAScheduler | None = None
        if search.scheduler == "asha" and search.epochs is not None:
            self._asha = ASHAScheduler(
                time_attr="epoch",
                metric="score",
                mode=search.mode,
                max_t=search.epochs,
                grace_period=min(GRACE_EPOCHS, search.epochs),
                reduction_factor=REDUCTION,
                stop_last_trials=False,
            )

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves this object to restore it later; here the ledger does that."""
        return {}

    def replay(self) -> None:
        """Replay the reports of finished trials, in the order of the trials."""
        for values in self._search.trials:
            if (self._ledger.done(values) or {"status": "failed"})["status"] != "failed":
                for row in self._ledger.rows(values):
                    self._decide(values, row)

    def _decide(self, values: Values, row: dict[str, Any]) -> str:
        if self._asha is None:
            return TrialScheduler.CONTINUE
        trial: Any = SimpleNamespace(trial_id=trial_id(values))
        controller: Any = None
        if trial.trial_id not in self._known:
            self._known.add(trial.trial_id)
            self._asha.on_trial_add(controller, trial)
        decision = self._asha.on_trial_result(controller, trial, dict(row))
        return TrialScheduler.CONTINUE if row["epoch"] >= (self._search.epochs or 0) else decision

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ray's call for each report of a running trial, before the recorder's."""
        if "end" in result:
            return TrialScheduler.CONTINUE
        if self._decide(_values_of(trial), _row(result)) == TrialScheduler.STOP:
            self._ledger.pruned.add(trial_id(_values_of(trial)))
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE


class _Recorder(ray_tune.Callback):
    """Writes the reports and ends of the trials."""

    def __init__(self, ledger: ObjectiveLedger, progress: Progress) -> None:
        self._ledger, self._progress = ledger, progress
        self._next_refresh = time.monotonic() + _REFRESH_S

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves its callbacks to restore them later; here the ledger does that."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        raise_if_stopped()
        if time.monotonic() > self._next_refresh:
            self._ledger.write_tables()
            self._next_refresh = time.monotonic() + _REFRESH_S

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ledger.begin(_values_of(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        values = _values_of(trial)
        if "end" in result:
            self._end(values, result["end"], result.get("error"))
        else:
            self._ledger.add(values, _row(result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        values = _values_of(trial)
        if trial_id(values) in self._ledger.pruned and self._ledger.done(values) is None:
            self._end(values, "pruned", None)
        forget_summaries(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(_values_of(trial), "failed", f"its process ended {TRIES} times without a result")

    def _end(self, values: Values, status: str, error: str | None) -> None:
        self._ledger.end(values, status, error)
        record = self._ledger.done(values) or {"status": status, "error": error}
        what = " ".join(f"{name}={value}" for name, value in values.items())
        cause = f": {record['error']}" if record["error"] else ""
        self._progress.note(f"trial {trial_id(values)} ({what}): {record['status']}{cause}")
