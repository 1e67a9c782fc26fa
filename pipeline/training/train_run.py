"""Training one run: epochs, selection, checkpoints at epoch boundaries, and the test split opened once at the end."""

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

from pipeline.analysis.energy import Energy, EnergyCount
from pipeline.config.run_config import RunConfig, fingerprint, to_dict
from pipeline.data.loader import Batch, FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.data.training_input import TrainingInput
from pipeline.evaluation.describe_run import describe_run, save_predictions
from pipeline.evaluation.evaluate import Evaluation, describe_test, evaluate, mean_steps
from pipeline.evaluation.losses import answer_mask, predict
from pipeline.networks import SpikeCounter
from pipeline.networks.run_network import make_run_network
from pipeline.runs import checkpoint as checkpoints
from pipeline.runs.changed_code import KEY
from pipeline.runs.checkpoint import PARTS, Best, Checkpoint
from pipeline.runs.result_json import MetricsRow, ResultJson, TimingRow
from pipeline.runs.run_folder import Run, holding
from pipeline.runs.start_from import check_beginning, find_start, selects_alike
from pipeline.runs.tensorboard import Scalars
from pipeline.runtime.device import computing, peak_memory_mb
from pipeline.runtime.distributed import Group, group_from_env, joined, share_of
from pipeline.training.environment import describe_environment
from pipeline.training.learner import Learner
from pipeline.training.non_finite import find_layer
from pipeline.training.schedule import learning_rate
from preprocess.errors import ConfigError, RunError
from preprocess.files import copy_whole, read_json, read_lines, write_json, write_lines
from preprocess.terminal.progress import Progress

OnEpoch = Callable[[MetricsRow, TimingRow], None]

_CUDA_CHECK_STEPS = 16


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
    """Train the run of a folder from its start, or from its checkpoint, to its end.

    Where torchrun started several processes, each calls this; the first alone writes and calls `on_epoch`.

    Args:
        config: What to compute. A folder that holds the same run is continued; a finished one is only read.
        folder: The run folder, made if it is not there.
        cache: The folder of all caches; a missing frame cache is made from the event store.
        open_test: Whether the test split is read at the end; a search's trials leave it closed.
        micro_batch: Pieces of a batch for a machine with less memory than the run was meant for; it stays the same run,
            and its environment and result say so. None is what the configuration says.
        command: The command line for the record of the run; None is that of this process.
        accept_changed_code: Whether a run whose own neuron or network file changed is continued all the same; its
            environment and result say so.
        on_epoch: Called after each epoch with its rows of ``metrics.jsonl`` and ``timings.jsonl``, once its checkpoint
            is on the disk.
        progress: Where to tell how far an epoch is.
        network: An object of the class that `network.name` names, trained instead of one that is built.

    Returns:
        The content of ``result.json``.

    Raises:
        RunError: If the folder holds another run, is in use or damaged, its own neuron or network file changed since
            its last checkpoint, or the loss stops being a number.
        ConfigError: If the configuration does not fit the data.
        CacheError: If the data set has no event store.
    """
    if config.selection == "paper" and not open_test:
        raise ConfigError("selection: expected validation or last where the test split stays closed, found paper")
    folder = folder.expanduser().absolute()
    # Data first: a configuration that does not fit its data leaves no folder behind.
    accepted = check_beginning(config, folder, accept_changed_code=accept_changed_code)
    data = open_data(config, cache.expanduser().absolute(), progress, needs_test=False)
    group = group_from_env()
    if open_test and len(data.splits.test) == 0:
        open_test = False
        if progress is not None and group.first:
            progress.note(f"{config.dataset.name} has no test split: the run ends without a test accuracy")
    share_of(config.batch_size, group)
    with contextlib.ExitStack() as stack:
        if group.first:
            stack.enter_context(holding(folder))
        device = stack.enter_context(computing(config))
        stack.enter_context(joined(group, device))
        # Where none was asked for, the first process's folder is there before the others look for a free one.
        folder = cast(Path, group.tell(folder))
        finished = group.tell(read_json(folder / "result.json") if group.first else None)
        if isinstance(finished, dict) and ("test_accuracy" in finished or not open_test):
            return cast(ResultJson, finished)
        training = _Training(config, folder, data, device, progress or Progress(), group, micro_batch, network)
        training.command = command
        training.accepted = accepted
        training.start_or_resume(cache)
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
        # Counted before the network is compiled or trained; it only looks.
        self.energy_count = EnergyCount(config, network, data.size, data.frames.timesteps, device)
        self.learner = Learner(config, network, device, group, micro_batch)
        self.train_loader = self._loader(data.splits.train, training=True)
        self.epoch = 0
        self.best = Best()
        self.command: Sequence[str] | None = None
        # What changed in the run's own code while it was trained.
        self.accepted: list[dict[str, str]] = []
        self.rows: list[MetricsRow] = []
        self.timings: list[TimingRow] = []

    @property
    def done(self) -> bool:
        """Whether all epochs are trained, or nothing better came for as many as patience allows."""
        schedule = self.config.schedule
        waits = schedule.patience is not None and self.epoch - self.best.epoch >= schedule.patience
        return self.epoch >= schedule.last_epoch or (waits and self.best.epoch > 0)

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
            augmentation=config.dataset.augmentation if training else "none",
            group=self.group if training else None,
        )

    def start_or_resume(self, cache: Path) -> None:
        """Write what the run is, or take up its last checkpoint and cut what was measured after it."""
        if (self.folder / "checkpoint.pt").exists():
            self._restore(self.folder, fingerprint(self.config))
            timings = cast(list[TimingRow], read_lines(self.folder / "timings.jsonl"))
            self.timings = [row for row in timings if row["epoch"] <= self.epoch]
        elif self.config.start_from is not None:
            self._start_from(find_start(self.config, self.folder))
        if not self.group.first:
            return
        write_json(self.folder / "config.json", to_dict(self.config))
        about = describe_environment(self.config, self.learner.network, self.device, self.command)
        frames = self.data.frames
        data: dict[str, Any] = {"cache": str(cache), "frames": str(frames.path), "data": frames.fingerprint}
        before = read_json(self.folder / "environment.json") or {}
        data["micro_batch"] = self.learner.micro_batch
        data["input"] = TrainingInput.of(frames).to_dict()
        if self.config.start_from is not None:
            data["started_from"] = str(self.folder.parent / self.config.start_from)
        if self.accepted:
            data[KEY] = self.accepted
        if before and self.epoch > 0:
            self._warn_of_another_place(before, about | data)
            # Where the epochs so far were trained, the newest first.
            data["earlier"] = [{k: v for k, v in before.items() if k != "earlier"}, *before.get("earlier", [])]
        write_json(self.folder / "environment.json", about | data)

    def _warn_of_another_place(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for what in ("device", "precision", "processes", "threads", "micro_batch"):
            if what in before and before[what] != now[what]:
                self.progress.note(
                    f"{self.folder}: trained with {what} {before[what]} and continued with {now[what]}: results will "
                    "differ in the last digits from those of an uninterrupted run"
                )

    def _start_from(self, origin: Run) -> None:
        """Take up the end of another run, with its rows; the epochs' timings stay its own."""
        self._restore(origin.folder, fingerprint(origin.config))
        last = self.config.schedule.last_epoch
        if self.epoch >= last:
            raise RunError(
                f"{origin.folder}: expected a run of fewer than {last} epochs to go on from, found {self.epoch}. "
                "Raise schedule.epochs, or start from a run with schedule.stop_epoch."
            )
        if not selects_alike(origin.config, self.config):
            self.best = Best()
        elif self.best.epoch > 0 and self.group.first:
            copy_whole(origin.folder / "best.pt", self.folder / "best.pt")

    def _restore(self, folder: Path, run: str) -> None:
        path = folder / "checkpoint.pt"
        state = checkpoints.load_checkpoint(path)
        if state.data != self.data.frames.fingerprint:
            raise RunError(
                f"{path}: expected frames {state.data}, found {self.data.frames.fingerprint}: the data set was "
                "preprocessed from other files since. Train anew in another --out."
            )
        if state.fingerprint != run:
            raise RunError(
                f"{path}: expected the checkpoint of run {run}, found that of "
                f"{state.fingerprint}. Put this run's own back, or train anew in another --out."
            )
        rows = cast(list[MetricsRow], read_lines(folder / "metrics.jsonl"))
        rows = [row for row in rows if row["epoch"] <= state.epoch]
        if [row["epoch"] for row in rows] != list(range(1, state.epoch + 1)):
            raise RunError(
                f"{folder}/metrics.jsonl: expected the rows of epochs 1 to {state.epoch}, found "
                f"{len(rows)}. Put the file back, or train anew in another --out."
            )
        try:
            self.learner.restore({part: getattr(state, part) for part in PARTS})
            checkpoints.restore_random_states(state.random)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"{path}: does not fit its configuration ({reason}). Train anew in another --out.") from None
        self.epoch, self.best, self.rows = state.epoch, state.best, rows

    def run_epoch(self) -> MetricsRow:
        """Train one epoch, measure, select, and write; the row of ``metrics.jsonl``."""
        start = time.perf_counter()
        epoch = self.epoch + 1
        if self.group.size > 1:
            # A checkpoint keeps the first process's random states alone; each process's masks must differ.
            seeds = np.random.SeedSequence([self.config.seed, epoch, self.group.rank])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
        row = self._train_epoch(epoch)
        spent = time.perf_counter() - start
        better = False
        if self.group.first:
            better = self._select(epoch, row)
        self.best = cast(Best, self.group.tell(self.best))
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
            if better:
                # Behind the row of its epoch, in front of the checkpoint that names it.
                checkpoints.save_weights(self.folder / "best.pt", self.learner.evaluated, epoch)
            self._save()
        return row

    def _train_epoch(self, epoch: int) -> MetricsRow:
        learner, loader = self.learner, self.train_loader
        rate = learning_rate(self.config, epoch)
        learner.set_learning_rate(rate)
        loader.waited_s = 0.0
        losses, correct = [], torch.zeros((), dtype=torch.int64, device=self.device)
        learner.network.train()
        name = f"epoch {epoch}/{self.config.schedule.epochs}"
        # On a GPU reading a loss waits for all that was asked of it: there, every so many steps.
        often = 1 if self.device.type == "cpu" else _CUDA_CHECK_STEPS
        with self.progress.task(name, len(loader), "batches") as advance, SpikeCounter(learner.network) as counter:
            for batch in loader.batches(epoch):
                loss, logits = learner.loss(batch, counter)
                losses.append(loss.detach())
                if len(losses) % often == 0 or len(losses) == len(loader):
                    self._refuse_nan(epoch, losses, batch)
                learner.follow(loss)
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
            "energy_uj": None,
        }

    def _refuse_nan(self, epoch: int, losses: list[torch.Tensor], batch: Batch) -> None:
        wrong = torch.nonzero(~torch.isfinite(torch.stack(losses[-_CUDA_CHECK_STEPS:])))
        if len(wrong):
            step = max(0, len(losses) - _CUDA_CHECK_STEPS) + int(wrong[0]) + 1
            with self.learner.precisely():
                layer = find_layer(self.learner.network, batch.frames)
            raise RunError(
                f"{self.folder}: expected a finite loss, found {float(losses[step - 1])} at step {step} of epoch "
                f"{epoch}; the first that is not finite: {layer}. {self._advice()}"
            )

    def _select(self, epoch: int, row: MetricsRow) -> bool:
        """Measure the split that selects, into the row; whether the weights are the best so far."""
        if self.config.selection == "last":
            return False
        split = "validation" if self.config.selection == "validation" else "test"
        found = self._evaluate(split)
        row |= cast(MetricsRow, {f"{split}_loss": found.loss, f"{split}_accuracy": found.accuracy})
        row["energy_uj"] = self._energy(found, split).per_inference_uj
        if split == "validation":
            row["firing_rate"] = found.firing_rate
        if not self.best.is_beaten_by(found.accuracy, found.loss):
            return False
        self.best = Best(epoch, found.accuracy, found.loss)
        return True

    def _evaluate(self, split: str) -> Evaluation:
        loader = self._loader(getattr(self.data.splits, split))
        found = evaluate(self.learner.evaluated, loader, self.config.loss, self.energy_count.watched)
        if not math.isfinite(found.loss):
            raise RunError(
                f"{self.folder}: expected a finite loss, found {found.loss} on the {split} split. {self._advice()}"
            )
        return found

    def _energy(self, found: Evaluation, split: str) -> Energy:
        return self.energy_count.energy(found.input_rates, mean_steps(self.data, getattr(self.data.splits, split)))

    def _advice(self) -> str:
        """What to do about a loss that is no number."""
        clips = "" if self.config.optimiser.clip_norm is not None else ", set optimiser.clip_norm 1"
        precise = "" if self.learner.precision == "fp32" else ", or choose precision fp32"
        return f"Lower optimiser.learning_rate{clips}{precise}."

    def _save(self) -> None:
        checkpoints.save_checkpoint(
            self.folder / "checkpoint.pt",
            Checkpoint(
                fingerprint=fingerprint(self.config),
                data=self.data.frames.fingerprint,
                epoch=self.epoch,
                threads=torch.get_num_threads(),
                **self.learner.state(),
                best=self.best,
                random=checkpoints.random_states(),
            ),
        )

    def finish(self, open_test: bool) -> ResultJson:
        """Take the selected weights, open the test split if it may be, and write the result."""
        if not self.group.first:
            return cast(ResultJson, self.group.tell(None))
        config, network = self.config, self.learner.evaluated
        if config.selection == "last":
            checkpoints.save_weights(self.folder / "best.pt", network, self.epoch)
        epoch = checkpoints.load_weights(self.folder / "best.pt", network)
        result = describe_run(config, self.data, self.rows, self.timings, epoch)
        result["micro_batch"] = self.learner.micro_batch
        if self.accepted:
            result["accepted_changed_code"] = self.accepted
        if len(self.data.splits.test) == 0:
            result["test_samples"] = 0
        if open_test:
            tested = self._evaluate("test")
            result |= cast(ResultJson, describe_test(tested))
            result["energy"] = self._energy(tested, "test").describe()
            save_predictions(self.folder / "predictions.npz", self.data, tested)
        write_json(self.folder / "result.json", result)
        return cast(ResultJson, self.group.tell(result))
