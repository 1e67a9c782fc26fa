"""Training one run: epochs, selection, checkpoints at epoch boundaries, and the test split opened once at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import checkpoint as checkpoints
from pipeline.checkpoint import Best, Checkpoint
from pipeline.config import RunConfig, fingerprint, to_dict
from pipeline.data import Batch, FrameLoader, RunData, open_data
from pipeline.device import autocast, computing, peak_memory_mb
from pipeline.environment import describe_environment
from pipeline.evaluation import Evaluation, describe_test, evaluate
from pipeline.losses import predict, spiking_loss
from pipeline.networks import SpikeCounter, build_network, reset_network
from pipeline.optimisation import learning_rate, make_optimiser
from pipeline.runs import holding, open_run, read_json, read_lines, write_json, write_lines, write_whole
from pipeline.scalars import Scalars
from preprocess.errors import ConfigError, RunError
from preprocess.progress import Progress

OnEpoch = Callable[[dict[str, Any]], None]


def train_run(
    config: RunConfig,
    folder: Path,
    cache: Path,
    *,
    open_test: bool = True,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train the run of a folder from its start, or from its checkpoint, to its end.

    Args:
        config: What to compute. A folder that holds the same run is continued; a finished one is only read.
        folder: The run folder, made if it is not there.
        cache: The folder of all caches; a missing frame cache is made from the event store.
        open_test: Whether the test split is read at the end; a search's trials leave it closed.
        on_epoch: Called after each epoch with its row of ``metrics.jsonl``, once its checkpoint is on the disk.
        progress: Where to tell how far an epoch is.

    Returns:
        The content of ``result.json``.

    Raises:
        RunError: If the folder holds another run, is in use or damaged, or the loss stops being a number.
        ConfigError: If the configuration does not fit the data.
        CacheError: If the data set has no event store.
    """
    if config.selection == "paper" and not open_test:
        raise ConfigError("selection: expected validation or last where the test split stays closed, found paper")
    folder = folder.expanduser().absolute()
    # Data first: a configuration that does not fit its data leaves no folder behind.
    _refuse_another_run(folder, config)
    data = open_data(config, cache.expanduser().absolute(), progress)
    with holding(folder), computing(config) as device:
        finished = read_json(folder / "result.json")
        if finished is not None and ("test_accuracy" in finished or not open_test):
            return finished
        training = _Training(config, folder, data, device, progress or Progress())
        training.begin_or_continue(cache)
        scalars = Scalars(folder, training.epoch + 1)
        try:
            while training.epoch < config.schedule.epochs:
                row = training.run_epoch()
                scalars.write(training.epoch, row, training.timings[-1])
                if on_epoch is not None:
                    on_epoch(row)
        finally:
            scalars.close()
        return training.finish(open_test)


def _refuse_another_run(folder: Path, config: RunConfig) -> None:
    if not (folder / "config.json").exists():
        return
    there = open_run(folder).config
    if fingerprint(there) != fingerprint(config):
        raise RunError(
            f"{folder}: expected run {fingerprint(config)}, found run {fingerprint(there)} of another configuration. "
            "Choose another --out."
        )


class _Training:
    """The state of one run while it trains."""

    def __init__(
        self, config: RunConfig, folder: Path, data: RunData, device: torch.device, progress: Progress
    ) -> None:
        self.config, self.folder, self.data, self.device, self.progress = config, folder, data, device, progress
        torch.manual_seed(config.seed)
        self.network = build_network(
            config.network,
            config.neuron,
            channels=2,
            classes=len(data.classes),
            size=data.size,
            timesteps=data.frames.timesteps,
            seed=config.seed,
        ).to(device)
        self.optimiser = make_optimiser(self.network, config.optimiser)
        # Half precision's small gradients vanish unless the loss is scaled up.
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.train_loader = self._loader(data.splits.train, shuffle_seed=config.seed)
        self.epoch = 0
        self.best = Best()
        self.rows: list[dict[str, Any]] = []
        self.timings: list[dict[str, Any]] = []

    def _loader(self, indices: np.ndarray, shuffle_seed: int | None = None) -> FrameLoader:
        config = self.config
        augmentation = "none" if shuffle_seed is None else config.dataset.augmentation
        return FrameLoader(
            self.data.frames,
            indices,
            config.batch_size,
            config.input,
            self.device,
            shuffle_seed=shuffle_seed,
            augmentation=augmentation,
        )

    def begin_or_continue(self, cache: Path) -> None:
        """Write what the run is, or take up its last checkpoint and cut what was measured after it."""
        if (self.folder / "checkpoint.pt").exists():
            self._restore(checkpoints.load_checkpoint(self.folder / "checkpoint.pt"))
        write_json(self.folder / "config.json", to_dict(self.config))
        about = describe_environment(self.config, self.network, self.device)
        data = {"cache": str(cache), "frames": str(self.data.frames.path), "data": self.data.frames.fingerprint}
        write_json(self.folder / "environment.json", about | data)

    def _restore(self, state: Checkpoint) -> None:
        path = self.folder / "checkpoint.pt"
        if state.data != self.data.frames.fingerprint:
            raise RunError(
                f"{path}: expected frames {state.data}, found {self.data.frames.fingerprint}: the data set was "
                "preprocessed from other files since. Train anew in another --out."
            )
        if state.threads != torch.get_num_threads():
            self.progress.note(
                f"{path}: trained with {state.threads} threads and continued with {torch.get_num_threads()}: "
                "results will differ in the last digits from those of an uninterrupted run"
            )
        try:
            self.network.load_state_dict(state.network)
            self.optimiser.load_state_dict(state.optimiser)
            self.scaler.load_state_dict(state.scaler)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"{path}: does not fit its configuration ({reason}). Train anew in another --out.") from None
        checkpoints.restore_random_states(state.random)
        self.epoch, self.best = state.epoch, state.best
        self.rows = [row for row in read_lines(self.folder / "metrics.jsonl") if row["epoch"] <= state.epoch]
        self.timings = [row for row in read_lines(self.folder / "timings.jsonl") if row["epoch"] <= state.epoch]

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch, measure, select, and write; the row of ``metrics.jsonl``."""
        start = time.perf_counter()
        epoch = self.epoch + 1
        row = {"epoch": epoch} | self._train_epoch(epoch)
        spent = time.perf_counter() - start
        row |= self._select(epoch, row)
        self.rows.append(row)
        self.timings.append(
            {
                "epoch": epoch,
                "epoch_s": time.perf_counter() - start,
                "samples_per_s": self.train_loader.samples / spent,
                "waiting_share": self.train_loader.waited_s / spent,
                "peak_memory_mb": peak_memory_mb(self.device),
            }
        )
        self.epoch = epoch
        write_lines(self.folder / "metrics.jsonl", self.rows)
        write_lines(self.folder / "timings.jsonl", self.timings)
        self._save()
        return row

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        rate = learning_rate(self.config, epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loader = self.train_loader
        loader.waited_s = 0.0
        losses, correct = [], torch.zeros((), dtype=torch.int64, device=self.device)
        self.network.train()
        name = f"epoch {epoch}/{self.config.schedule.epochs}"
        with self.progress.task(name, len(loader), "batches") as advance, SpikeCounter(self.network) as counter:
            for batch in loader.batches(epoch):
                loss, logits = self._step(batch, counter)
                losses.append(loss)
                correct += (predict(logits, batch.mask) == batch.labels).sum()
                advance(1)
        self._refuse_nan(epoch, torch.stack(losses))
        return {
            "train_loss": float(torch.stack(losses).mean()),
            "train_accuracy": int(correct) / loader.samples,
            "validation_loss": None,
            "validation_accuracy": None,
            "learning_rate": rate,
            "firing_rate": counter.rate(),
        }

    def _step(self, batch: Batch, counter: SpikeCounter) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of the optimiser; the loss and the logits, both without gradient."""
        frames, mask = batch.frames, batch.mask
        steps = self.config.grad_steps or len(frames)
        begin, rest = (None, None) if mask is None else (mask[:steps], mask[steps:])
        self.optimiser.zero_grad(set_to_none=True)
        with autocast(self.device, self.config.precision):
            counter.mask = begin
            logits = self.network(frames[:steps])
            loss = spiking_loss(logits, batch.labels, self.config.loss, begin)
            if steps < len(frames):
                # The rest goes on from the carried state; its outputs predict, but no gradient comes from them.
                counter.mask = rest
                with torch.no_grad():
                    logits = torch.cat([logits, self.network(frames[steps:])])
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        reset_network(self.network)
        return loss.detach(), logits.detach()

    def _refuse_nan(self, epoch: int, losses: torch.Tensor) -> None:
        wrong = torch.nonzero(~torch.isfinite(losses))
        if len(wrong):
            step = int(wrong[0]) + 1
            raise RunError(
                f"{self.folder}: expected a finite loss, found {float(losses[step - 1])} at step {step} of epoch "
                f"{epoch}. Lower optimiser.learning_rate, or choose precision fp32."
            )

    def _select(self, epoch: int, row: dict[str, Any]) -> dict[str, Any]:
        """Measure the split that selects, and keep the weights where they are the best so far."""
        if self.config.selection == "last":
            return {}
        split = "validation" if self.config.selection == "validation" else "test"
        found = self._evaluate(split)
        if self.best.is_beaten_by(found.accuracy, found.loss):
            self.best = Best(epoch, found.accuracy, found.loss)
            checkpoints.save_weights(self.folder / "best.pt", self.network, epoch)
        measured: dict[str, Any] = {f"{split}_loss": found.loss, f"{split}_accuracy": found.accuracy}
        return measured | ({"firing_rate": found.firing_rate} if split == "validation" else {})

    def _evaluate(self, split: str) -> Evaluation:
        return evaluate(self.network, self._loader(getattr(self.data.splits, split)), self.config.loss)

    def _save(self) -> None:
        checkpoints.save_checkpoint(
            self.folder / "checkpoint.pt",
            Checkpoint(
                fingerprint(self.config),
                self.data.frames.fingerprint,
                self.epoch,
                torch.get_num_threads(),
                self.network.state_dict(),
                self.optimiser.state_dict(),
                self.scaler.state_dict(),
                self.best,
                checkpoints.random_states(),
            ),
        )

    def finish(self, open_test: bool) -> dict[str, Any]:
        """Take the selected weights, open the test split if it may be, and write the result."""
        config = self.config
        if config.selection == "last":
            checkpoints.save_weights(self.folder / "best.pt", self.network, self.epoch)
        epoch = checkpoints.load_weights(self.folder / "best.pt", self.network)
        result = describe_run(config, self.data, self.rows, self.timings, epoch)
        if open_test:
            tested = self._evaluate("test")
            result |= describe_test(tested)
            save_predictions(self.folder / "predictions.npz", self.data, tested)
        write_json(self.folder / "result.json", result)
        return result


def describe_run(
    config: RunConfig, data: RunData, rows: list[dict[str, Any]], timings: list[dict[str, Any]], epoch: int
) -> dict[str, Any]:
    """What `result.json` says besides the test split: what was run, and what the selected epoch measured."""
    chosen = rows[epoch - 1]
    return {
        "fingerprint": fingerprint(config),
        "dataset": config.dataset.name,
        "emulated": data.emulated,
        "split": config.dataset.split,
        "selection": config.selection,
        "timesteps": data.frames.timesteps,
        "classes": list(data.classes),
        "epoch": epoch,
        "epochs": len(rows),
        "validation_accuracy": chosen["validation_accuracy"],
        "firing_rate": chosen["firing_rate"],
        "seconds": math.fsum(row["epoch_s"] for row in timings),
    }


def save_predictions(path: Path, data: RunData, tested: Evaluation) -> None:
    """Write name, label and summed logits of every test sample, in the order of the split."""
    names = data.frames.samples.name[data.splits.test]

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, name=names, label=tested.labels, logits=tested.logits)

    write_whole(path, write)
