"""Trials through Ray Tune: those that the ledger lacks, in parallel within the machine's CPUs or GPUs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.tune as ray_tune
from ray.tune.schedulers import TrialScheduler

from pipeline.config import RunConfig, fingerprint, from_dict
from pipeline.outside import outside_sources
from pipeline.runs import holding
from preprocess.build_frames import ensure_every_frames
from preprocess.errors import ConfigError, RunError
from preprocess.event_store import events_path, open_events
from preprocess.progress import Progress
from tune.cluster import ray_running, stdout_without_ray
from tune.early_stopping import StratifiedASHA
from tune.ledger import Ledger
from tune.results import differing_fields, write_results
from tune.trainable import Order, run_trial
from tune.view import TrialView, view_on_stderr

# What is written as trials end is written this seldom, and takes this share of the time at most.
_REFRESH_S = 5.0
_REFRESH_SHARE = 0.05
# Workers of a killed driver may take this long to die; they hold their trial folders until then.
_ORPHANS_S = 60.0


def run_trials(
    configs: Sequence[RunConfig],
    folder: Path,
    cache: Path,
    *,
    open_test: bool,
    address: str | None = None,
    concurrent: int | None = None,
    early_stopping: bool = False,
    fields: Sequence[str] | None = None,
    refresh: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Run those of the trials that the folder's ledger lacks, and write what came of them as they end.

    Each trial is a run of `pipeline.training.train_run` in its ledger folder, from its checkpoint where it has one.
    A trial that fails is recorded with its cause, and the others go on. Ctrl-C and SIGTERM leave finished trials in the
    ledger and running ones with their last checkpoint.

    Args:
        configs: All trials of the search or comparison.
        folder: Of the search or comparison.
        cache: The folder of all caches; frame caches that the trials lack are built before the first trial.
        open_test: Whether trials read the test split at their end.
        address: Of a Ray cluster; None uses the Ray that this process has, or starts one on this machine.
        concurrent: Trials at once; None is one for each GPU, or for each CPU where there is no GPU.
        early_stopping: Whether poor trials are stopped before their last epoch, as `tune.early_stopping` has it.
        fields: The searched field paths, for tables; None is those that differ.
        refresh: Writes what came of the trials so far; None writes results.csv and epochs.csv. Called now and then as
            trials end, and at the end or the interruption.
        progress: Where to tell how far the frame caches are.

    Raises:
        CacheError: If there is no event store.
        ConfigError: If the device asked for is not there.
        RunError: If another process works in the folder.
        ClusterError: If Ray does not start or the cluster does not answer.
    """
    ledger = Ledger(folder)
    fields = differing_fields(configs) if fields is None else fields
    refresh = refresh or partial(write_results, ledger.folder, configs, fields)
    with holding(ledger.folder):
        ledger.bind(_basis(configs, cache))
        waiting = ledger.unfinished(configs)
        try:
            if waiting:
                _ensure_frames(waiting, cache, progress)
                _wait_for_orphans(ledger, waiting)
                with ray_running(address), stdout_without_ray(), view_on_stderr(ledger, configs, fields) as view:
                    share = share_machine(waiting, concurrent)
                    orders = _orders(waiting, ledger.folder, cache, open_test, share)
                    scheduler = _replayed(ledger, configs) if early_stopping else None
                    _tune(orders, share, scheduler, _Watcher(ledger, view, refresh), ledger.folder / ".ray")
        finally:
            refresh()


def _basis(configs: Sequence[RunConfig], cache: Path) -> dict[str, str]:
    """The data sets' fingerprints, and the hashes of the files that classes from outside come from."""
    names = dict.fromkeys(config.dataset.name for config in configs)
    facts = {f"data set {name}": open_events(events_path(cache, name)).fingerprint for name in names}
    for config in configs:
        facts |= {f"the file {source['file']}": source["sha256"] for source in outside_sources(config).values()}
    return facts


def _ensure_frames(configs: Sequence[RunConfig], cache: Path, progress: Progress | None) -> None:
    """Build every frame cache that trials read, in one pass over the events of each data set."""
    for name in dict.fromkeys(config.dataset.name for config in configs):
        reading = [config for config in configs if config.dataset.name == name and config.input.source == "cache"]
        binnings = dict.fromkeys(config.binning.plain() for config in reading)
        ensure_every_frames(cache, name, list(binnings), progress=progress)


def _wait_for_orphans(ledger: Ledger, configs: Sequence[RunConfig]) -> None:
    from filelock import FileLock, Timeout

    for config in configs:
        path = ledger.trial_folder(config) / ".lock"
        if path.exists():
            try:
                with FileLock(path, timeout=_ORPHANS_S):
                    pass
            except Timeout:
                raise RunError(f"{path.parent}: another process trains here. Wait for it, or stop it.") from None


@dataclass(frozen=True)
class Share:
    """What each trial gets of the machine or cluster.

    Attributes:
        trials: How many run at once.
        threads: CPUs, and so threads, of each.
        gpu: Share of a GPU of each, 0 without.
        device: What each computes on.
    """

    trials: int
    threads: int
    gpu: float
    device: str


def share_machine(configs: Sequence[RunConfig], concurrent: int | None = None) -> Share:
    """Cut what Ray has into equal shares for the trials that run at once.

    Args:
        configs: The trials that are to run; where they name a number of threads, each gets so many.
        concurrent: Trials at once; None is one for each GPU, or as many as there are CPUs for.

    Raises:
        ConfigError: If the configurations ask for a GPU and there is none.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(float(node.get("GPU", 0)) for node in nodes)
    asked = configs[0].device
    if asked.startswith("cuda") and not gpus:
        raise ConfigError(f"device: expected a GPU for '{asked}', found none that Ray knows. Use auto or cpu.")
    if asked == "cpu":
        gpus = 0.0
    # A trial's CPUs are of one machine, the smallest that has any.
    most = min(count for count in cpus if count)
    wanted = min(configs[0].threads or 1, most)
    at_once = min(len(configs), concurrent or int(gpus) or sum(cpus) // wanted)
    threads = wanted if configs[0].threads else max(1, min(sum(cpus) // at_once, most))
    if not gpus:
        return Share(at_once, threads, 0.0, "cpu")
    # Ray knows four digits of a share of a GPU; more than one trial never spreads over two.
    return Share(at_once, threads, min(1.0, int(gpus / at_once * 10_000) / 10_000), "cuda")


def _orders(
    configs: Sequence[RunConfig], folder: Path, cache: Path, open_test: bool, share: Share
) -> list[dict[str, Any]]:
    return [
        Order.of(
            config,
            folder,
            cache.expanduser().absolute(),
            open_test=open_test,
            device=share.device,
            threads=share.threads,
            command=tuple(sys.argv),
        ).to_dict()
        for config in configs
    ]


def _replayed(ledger: Ledger, configs: Sequence[RunConfig]) -> StratifiedASHA:
    """Early stopping that knows what the ledger's trials reached."""
    scheduler = StratifiedASHA(ledger)
    for config in configs:
        scheduler.replay(config)
    return scheduler


def _tune(
    orders: list[dict[str, Any]], share: Share, scheduler: TrialScheduler | None, watcher: _Watcher, scratch: Path
) -> None:
    """Have Ray Tune run the orders; what it writes for itself goes to a folder that does not stay."""
    shutil.rmtree(scratch, ignore_errors=True)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(run_trial, {"cpu": share.threads, "gpu": share.gpu}),
        param_space={"order": ray_tune.grid_search(orders)},
        tune_config=ray_tune.TuneConfig(
            scheduler=scheduler,
            max_concurrent_trials=share.trials,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=ray_tune.RunConfig(name="trials", storage_path=str(scratch), callbacks=[watcher], verbose=0),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Watcher(ray_tune.Callback):
    """Passes on what Ray tells of the trials: to the view, to the files, and to the ledger where a process died."""

    def __init__(self, ledger: Ledger, view: TrialView, refresh: Callable[[], None]) -> None:
        self._ledger, self._view, self._refresh = ledger, view, refresh
        self._next_refresh = time.monotonic() + _REFRESH_S

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves its callbacks to restore them; this one holds a screen, and the ledger restores what matters."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._view.started(fingerprint(_config_of(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._view.reported(fingerprint(_config_of(trial)), result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(_config_of(trial), "it ended without a word")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(_config_of(trial), f"its process died: {_cause(trial)}")

    def _end(self, config: RunConfig, otherwise: str) -> None:
        """Show how a trial ended; one that could not record its end itself failed, for the cause given."""
        record = self._ledger.read_done(config) or self._ledger.end(config, "failed", otherwise)
        self._view.ended(fingerprint(config), record)
        start = time.monotonic()
        if start > self._next_refresh:
            self._refresh()
            end = time.monotonic()
            self._next_refresh = end + max(_REFRESH_S, (end - start) / _REFRESH_SHARE)


def _config_of(trial: Any) -> RunConfig:
    return from_dict(trial.config["order"]["config"])


def _cause(trial: Any) -> str:
    """The last line of what Ray wrote down of a trial's error."""
    try:
        lines = [line.strip() for line in Path(trial.error_file).read_text().splitlines() if line.strip()]
    except (TypeError, OSError):
        return "Ray does not say why"
    return lines[-1][:300]
