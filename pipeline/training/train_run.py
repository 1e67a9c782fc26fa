"""Train one run: epochs, selection, checkpoints after each epoch, and one evaluation on the test split at the end."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from pipeline.config.run_config import RunConfig, fingerprint, to_dict
from pipeline.config.slow_precision import slow_precision
from pipeline.cost.inference_costs import CostCount, InferenceCosts
from pipeline.data.input_description import TrainingInput
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.evaluate import Evaluation, costs_of, evaluate, mean_steps
from pipeline.evaluation.losses import answer_mask, predict
from pipeline.evaluation.result_contents import describe_run, describe_test, save_predictions
from pipeline.networks import SpikeCounter
from pipeline.networks.run_network import make_run_network
from pipeline.networks.spiking_layers import describe_spiking_layers
from pipeline.runs import checkpoint as checkpoints
from pipeline.runs.changed_code import KEY
from pipeline.runs.checkpoint import BEST, CHECKPOINT, Best, Checkpoint
from pipeline.runs.environment_record import describe_environment
from pipeline.runs.result_json import COST_COLUMNS, MetricsRow, ResultJson, TimingRow
from pipeline.runs.run_folder import Run, holding
from pipeline.runs.tensorboard import Scalars
from pipeline.runtime.device import compute_device, peak_memory_mb
from pipeline.runtime.distributed import Group, group_from_env, joined, share_of
from pipeline.training import given_network
from pipeline.training.early_stopping import stops_early
from pipeline.training.given_network import check_given, describe_network, load_finished
from pipeline.training.learner import Learner
from pipeline.training.non_finite import advice, check_finite
from pipeline.training.resume import (
    check_beginning,
    find_start,
    note_changed_environment,
    read_state,
    restore_learner,
    same_selection,
)
from pipeline.training.schedule import learning_rate
from preprocess.errors import ConfigError, RunError
from preprocess.files import copy_whole, read_json, read_lines, write_json, write_lines
from preprocess.terminal.progress import Progress

OnEpoch = Callable[[MetricsRow, TimingRow], None]

_CUDA_CHECK_STEPS = 16
# Batches of an evaluation after an epoch in which operations are counted; the test counts all.
_COUNTED_BATCHES = 4


def train_run(
    config: RunConfig,
    folder: Path,
    cache: Path,
    *,
    open_test: bool = True,
    micro_batch: int | None = None,
    command: Sequence[str] | None = None,
    accept_changed_code: bool = False,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
    network: nn.Module | None = None,
) -> ResultJson:
    """Train a run in its folder, from the beginning or from its last checkpoint.

    With several processes started by torchrun, each of them calls this function; only the first writes files and calls
    `on_epoch`.

    Args:
        config: Configuration of the run. If the folder contains the same run, it is resumed; a finished run is only
            read.
        folder: The run folder; created if it does not exist.
        cache: The folder of all caches; a missing frame cache is built from the event store.
        open_test: Whether the run is evaluated on the test split at the end; the trials of a search are not.
        micro_batch: Micro-batch size for a machine with less memory than the configuration needs; the run keeps its
            fingerprint, and its environment and result record the size. None uses the configuration's.
        command: The command line to record; None uses that of this process.
        accept_changed_code: Whether a run is resumed although its custom neuron or network file changed; its
            environment and result record the change.
        on_epoch: Called after each epoch with its rows of ``metrics.jsonl`` and ``timings.jsonl``, after its checkpoint
            was written.
        progress: Reports the progress of each epoch.
        network: An object of the class that `network.name` names, which is trained instead of a newly built one.

    Returns:
        The content of ``result.json``.

    Raises:
        RunError: If the folder contains another run, is in use or damaged, the custom neuron or network file changed
            since the last checkpoint, or the loss is not finite.
        ConfigError: If the configuration does not fit the data.
        CacheError: If the data set has no event store.
    """
    if config.selection == "paper" and not open_test:
        raise ConfigError("selection: expected validation or last if the test split is not evaluated, found paper")
    folder = folder.expanduser().absolute()
    # The data are opened first, so that a configuration that does not fit them leaves no folder behind.
    accepted = check_beginning(config, folder, accept_changed_code=accept_changed_code)
    if network is not None:
        check_given(folder, network)
    data = open_data(config, cache.expanduser().absolute(), progress, needs_test=False)
    group = group_from_env()
    if open_test and len(data.splits.test) == 0:
        open_test = False
        if progress is not None and group.first:
            progress.note(f"{config.dataset.name} has no test split, so the run has no test accuracy")
    share_of(config.batch_size, group)
    with contextlib.ExitStack() as stack:
        if group.first:
            stack.enter_context(holding(folder))
        device = stack.enter_context(compute_device(config))
        stack.enter_context(joined(group, device))
        # The default folder is the first free one: by now the first process has created it, and the others must use it.
        folder = cast(Path, group.broadcast(folder))
        finished = group.broadcast(read_json(folder / "result.json") if group.first else None)
        if isinstance(finished, dict) and ("test_accuracy" in finished or not open_test):
            if network is not None:
                load_finished(folder, network, device)
            return cast(ResultJson, finished)
        training = _Training(config, folder, data, device, progress or Progress(), group, micro_batch, network)
        training.command = command
        training.accepted = accepted
        training.start_or_resume(cache)
        slow = slow_precision([config], device.type)
        if slow is not None and progress is not None and group.first and not training.done:
            progress.note(slow)
        scalars = stack.enter_context(Scalars(folder, training.epoch + 1)) if group.first else None
        while not training.done:
            row = training.run_epoch()
            if scalars is not None:
                scalars.write(training.epoch, row, training.timings[-1])
                if on_epoch is not None:
                    on_epoch(row, training.timings[-1])
        return training.finish(open_test)


class _Training:
    """The state of one run while it trains."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        data: RunData,
        device: torch.device,
        progress: Progress,
        group: Group,
        micro_batch: int | None,
        given: nn.Module | None = None,
    ) -> None:
        self.config, self.folder, self.data, self.device = config, folder, data, device
        self.progress, self.group = progress, group
        torch.manual_seed(config.seed)
        form = {"classes": len(data.classes), "size": data.size, "timesteps": data.frames.timesteps}
        network = make_run_network(config, **form, device=device, given=given)  # type: ignore[arg-type]
        self.given = given
        # Counted before the network is compiled or trained; does not change the network.
        self.cost_count = CostCount(config, network, data.size, data.frames.timesteps, device)
        self.learner = Learner(config, network, device, group, micro_batch)
        self.train_loader = self._loader(data.splits.train, training=True)
        self.epoch = 0
        self.best = Best()
        self.command: Sequence[str] | None = None
        # Accepted changes of custom code since the run was started.
        self.accepted: list[dict[str, str]] = []
        self.rows: list[MetricsRow] = []
        self.timings: list[TimingRow] = []

    @property
    def done(self) -> bool:
        """Whether all epochs are trained, or early stopping ends the run."""
        schedule = self.config.schedule
        return self.epoch >= schedule.last_epoch or stops_early(schedule, self.epoch, self.best.epoch)

    def _loader(self, indices: np.ndarray, *, training: bool = False) -> FrameLoader:
        config = self.config
        return FrameLoader(
            self.data.frames,
            indices,
            config.batch_size,
            config.input,
            self.device,
            seed=config.seed,
            training=training,
            keep_last=config.keep_last,
            augmentation=config.dataset.augmentation if training else "none",
            mixup_alpha=config.dataset.mixup_alpha,
            mixing_epochs=config.dataset.mixing_epochs,
            group=self.group,
        )

    def start_or_resume(self, cache: Path) -> None:
        """Start the run or restore its last checkpoint, without later rows; write configuration and environment."""
        if (self.folder / CHECKPOINT).exists():
            self._restore(self.folder, fingerprint(self.config))
            timings = cast(list[TimingRow], read_lines(self.folder / "timings.jsonl"))
            self.timings = [row for row in timings if row["epoch"] <= self.epoch]
        elif self.config.start_from is not None:
            self._start_from(find_start(self.config, self.folder))
        if not self.group.first:
            return
        write_json(self.folder / "config.json", to_dict(self.config))
        network = self.learner.network
        layers = describe_spiking_layers(network)
        about = describe_environment(self.config, network, layers, self.device, self.command)
        frames = self.data.frames
        data: dict[str, Any] = {"cache": str(cache), "frames": str(frames.path), "data": frames.fingerprint}
        before = read_json(self.folder / "environment.json") or {}
        data["micro_batch"] = self.learner.micro_batch
        data["input"] = TrainingInput.of(frames).to_dict()
        if self.config.start_from is not None:
            data["started_from"] = str(self.folder.parent / self.config.start_from)
        if self.given is not None:
            data[given_network.KEY] = describe_network(self.given)
            # It may come from another configuration.
            data["configured_neuron"] = False
        if self.accepted:
            data[KEY] = self.accepted
        if before and self.epoch > 0:
            note_changed_environment(self.folder, before, about | data, self.progress)
            # The environments of the epochs so far, newest first.
            data["earlier"] = [{k: v for k, v in before.items() if k != "earlier"}, *before.get("earlier", [])]
        write_json(self.folder / "environment.json", about | data)

    def _start_from(self, origin: Run) -> None:
        """Restore the last checkpoint of another run and its metrics; the timings of its epochs are not copied."""
        self._restore(origin.folder, fingerprint(origin.config))
        last = self.config.schedule.last_epoch
        if self.epoch >= last:
            raise RunError(
                f"{origin.folder}: expected a run of fewer than {last} epochs to start from, found {self.epoch}. "
                "Raise schedule.epochs, or start from a run with schedule.stop_epoch."
            )
        if not same_selection(origin.config, self.config):
            self.best = Best()
        elif self.best.epoch > 0 and self.group.first:
            copy_whole(origin.folder / BEST, self.folder / BEST)

    def _restore(self, folder: Path, run: str) -> None:
        state, self.rows = read_state(folder, run, self.data.frames.fingerprint)
        restore_learner(self.learner, state, folder)
        self.epoch, self.best = state.epoch, state.best

    def run_epoch(self) -> MetricsRow:
        """Train one epoch, evaluate, select and write; returns the row of ``metrics.jsonl``."""
        start = time.perf_counter()
        epoch = self.epoch + 1
        if self.group.size > 1:
            # A checkpoint only has the random states of the first process, but dropout masks must differ by process.
            seeds = np.random.SeedSequence([self.config.seed, epoch, self.group.rank])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
        row = self._train_epoch(epoch)
        spent = time.perf_counter() - start
        better = self._select(epoch, row)
        self.rows.append(row)
        self.timings.append(
            {
                "epoch": epoch,
                "ended": time.time(),
                "epoch_s": time.perf_counter() - start,
                "samples_per_s": self.train_loader.samples * self.group.size / spent,
                "waiting_share": self.train_loader.waited_s / spent,
                "peak_memory_mb": peak_memory_mb(self.device),
            }
        )
        self.epoch = epoch
        if self.group.first:
            write_lines(self.folder / "metrics.jsonl", self.rows)
            write_lines(self.folder / "timings.jsonl", self.timings)
            checkpoints.save_epoch(self.folder, self._state(), self.learner.evaluated if better else None)
        return row

    def _train_epoch(self, epoch: int) -> MetricsRow:
        learner, loader = self.learner, self.train_loader
        rate = learning_rate(self.config, epoch)
        learner.set_learning_rate(rate)
        loader.waited_s = 0.0
        losses, correct = [], torch.zeros((), dtype=torch.int64, device=self.device)
        learner.network.train()
        name = f"epoch {epoch}/{self.config.schedule.epochs}"
        # Reading a loss from a GPU waits for all its queued work, so it is only checked at intervals.
        check_steps = 1 if self.device.type == "cpu" else _CUDA_CHECK_STEPS
        with self.progress.task(name, len(loader), "batches") as advance, SpikeCounter(learner.network) as counter:
            for batch in loader.batches(epoch):
                loss, logits = learner.loss(batch, counter)
                losses.append(loss.detach())
                if len(losses) % check_steps == 0 or len(losses) == len(loader):
                    check_finite(self.folder, learner, epoch, losses[-check_steps:], len(losses), batch)
                learner.update(loss)
                counted = answer_mask(batch.mask, logits, self.config.loss.last_steps)
                correct += (predict(logits, counted) == batch.labels).sum()
                advance(1)
        total = self.group.sum(torch.stack([torch.stack(losses).double().sum(), correct.double()]))
        spikes = self.group.sum(counter.totals())
        return {
            "epoch": epoch,
            "train_loss": float(total[0]) / (len(losses) * self.group.size),
            "train_accuracy": int(total[1]) / (loader.samples * self.group.size),
            "validation_loss": None,
            "validation_accuracy": None,
            "learning_rate": rate,
            "firing_rate": float(spikes[0] / spikes[1]) if spikes[1] else 0.0,
            **dict.fromkeys(COST_COLUMNS),  # type: ignore[typeddict-item]
        }

    def _select(self, epoch: int, row: MetricsRow) -> bool:
        """Evaluate the split that selects and add it to the row; returns whether the weights are the best so far."""
        if self.config.selection == "last":
            return False
        split = "validation" if self.config.selection == "validation" else "test"
        found = self._evaluate(split, _COUNTED_BATCHES)
        row |= cast(MetricsRow, {f"{split}_loss": found.loss, f"{split}_accuracy": found.accuracy})
        row |= cast(MetricsRow, self._costs(found, split).columns())
        if split == "validation":
            row["firing_rate"] = found.firing_rate
        if not self.best.is_beaten_by(found.accuracy, found.loss):
            return False
        self.best = Best(epoch, found.accuracy, found.loss)
        return True

    def _evaluate(self, split: str, counted_batches: int | None = None) -> Evaluation:
        """Evaluate a split, each process a part of it, with the first process's weights and running statistics."""
        self.group.share_state(self.learner.evaluated)
        loader = self._loader(getattr(self.data.splits, split))
        operations = self.cost_count.operations
        found = evaluate(self.learner.evaluated, loader, self.config.loss, operations, counted_batches)
        if not math.isfinite(found.loss):
            raise RunError(
                f"{self.folder}: expected a finite loss, found {found.loss} on the {split} split. "
                f"{advice(self.config, self.learner.precision)}"
            )
        return found

    def _costs(self, found: Evaluation, split: str) -> InferenceCosts:
        steps = mean_steps(self.data, getattr(self.data.splits, split))
        return costs_of(self.cost_count, self.learner.evaluated, found, steps)

    def _state(self) -> Checkpoint:
        return Checkpoint(
            fingerprint=fingerprint(self.config),
            data=self.data.frames.fingerprint,
            epoch=self.epoch,
            threads=torch.get_num_threads(),
            **self.learner.state(),
            best=self.best,
            random=checkpoints.random_states(),
        )

    def finish(self, open_test: bool) -> ResultJson:
        """Load the selected weights, evaluate them on the test split if allowed, and write the result."""
        config, network = self.config, self.learner.evaluated
        epoch = 0
        if self.group.first:
            if config.selection == "last":
                checkpoints.save_weights(self.folder / BEST, network, self.epoch)
            epoch = checkpoints.load_weights(self.folder / BEST, network)
        tested = self._evaluate("test") if open_test else None
        if not self.group.first:
            return cast(ResultJson, self.group.broadcast(None))
        result = describe_run(config, self.data, self.rows, self.timings, epoch)
        result["micro_batch"] = self.learner.micro_batch
        if self.accepted:
            result["accepted_changed_code"] = self.accepted
        if len(self.data.splits.test) == 0:
            result["test_samples"] = 0
        if tested is not None:
            result |= cast(ResultJson, describe_test(tested))
            result["energy"] = self._costs(tested, "test").describe()
            save_predictions(self.folder / "predictions.npz", self.data, tested)
        write_json(self.folder / "result.json", result)
        return cast(ResultJson, self.group.broadcast(result))
