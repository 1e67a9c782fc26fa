"""Evaluate a network on a split: loss, accuracy over time, confusion matrix, firing rates and logits."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config.run_config import LossConfig
from pipeline.cost.inference_costs import CostCount, InferenceCosts, watched
from pipeline.cost.operations import Operations
from pipeline.cost.synaptic_operations import SynapseCounter, SynapticOperations
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData
from pipeline.evaluation.accuracy_over_time import correct_by_step, looks_ahead
from pipeline.evaluation.losses import answer_mask, spiking_loss, sum_logits
from pipeline.networks import SpikeCounter, reset_network
from pipeline.runtime.distributed import Group


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of one pass over a split, without gradients and in float32.

    Attributes:
        loss: Mean loss over the samples.
        labels: Class numbers, int64 (N,).
        logits: Sum of the logits over the time steps that count, float32 (N, classes).
        firing_rates: Spikes / (neurons * T * samples) of each spiking layer, by its name.
        firing_rate: The same over all layers.
        correct_by_step: Number of samples that are classified correctly from the first t steps, t = 1 .. T, int64 (T,);
            None if outputs depend on later frames.
        input_rates: `firing_rates`, and the rates of the other modules whose outputs are spikes.
        synapses: The operations that inputs caused; None if they were not requested.
    """

    loss: float
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    firing_rates: dict[str, float]
    firing_rate: float
    correct_by_step: NDArray[np.int64] | None
    input_rates: dict[str, float]
    synapses: SynapticOperations | None = None

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Class numbers, int64 (N,)."""
        return np.asarray(self.logits.argmax(1), np.int64)

    @property
    def correct(self) -> int:
        """Number of samples that are classified correctly."""
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """Accuracy as a fraction."""
        return self.correct / len(self.labels)

    def latency_curve(self) -> list[float] | None:
        """Accuracy from the first t steps, t = 1 .. T, as fractions; the last one is `accuracy`."""
        if self.correct_by_step is None:
            return None
        return [int(correct) / len(self.labels) for correct in self.correct_by_step]

    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix, int64 (classes, classes): rows are true classes, columns are predictions."""
        classes = self.logits.shape[1]
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (self.labels, self.predictions), 1)
        return matrix

    def per_class_accuracy(self) -> list[float | None]:
        """Accuracy of each class as a fraction; None for a class without samples."""
        confusion = self.confusion()
        totals = confusion.sum(1)
        return [int(confusion[c, c]) / int(n) if n else None for c, n in enumerate(totals)]


def evaluate(
    network: torch.nn.Module,
    loader: FrameLoader,
    config: LossConfig,
    operations: Operations | None = None,
    counted_batches: int | None = None,
) -> Evaluation:
    """Run a network in evaluation mode over all batches of a loader; its mode is restored at the end.

    If the loader has a group of processes, each of them calls this function with the same weights, and gets the result
    of the complete split.

    Args:
        network: A network on the device of the loader.
        loader: Loader of a split.
        config: Configuration of the loss.
        operations: The network's operations, to count also those that the inputs of its layers cause.
        counted_batches: Maximum number of batches in which they are counted, spread evenly over the samples, because
            counting takes up to half of a batch's time; None counts in all.
    """
    training = network.training
    network.eval()
    found = _Found()
    synapses = None if operations is None else SynapseCounter(network, operations)
    counter = SpikeCounter(network, () if operations is None else watched(operations))
    total = len(loader.indices)
    stride = 1 if counted_batches is None else math.ceil(math.ceil(total / loader.batch_size) / counted_batches)
    try:
        with torch.no_grad(), counter:
            for k, batch in enumerate(loader.batches(), loader.first_batch):
                counter.mask = batch.mask
                counting = synapses is not None and k % stride == 0
                if synapses is not None:
                    synapses.mask = batch.mask
                found.counted_samples += len(batch.labels) if counting else 0
                with synapses if counting and synapses is not None else contextlib.nullcontext():
                    out = network(batch.frames)
                reset_network(network)
                counted = answer_mask(batch.mask, out, config.last_steps)
                found.losses.append(spiking_loss(out, batch.labels, config, batch.mask) * len(batch.labels))
                found.labels.append(batch.labels.cpu())
                found.logits.append(sum_logits(out, counted).cpu())
                found.correct.append(correct_by_step(out, batch.labels, counted))
    finally:
        network.train(training)
    whole = _combine(loader.group, found, counter, synapses)
    return Evaluation(
        float(torch.stack(whole.losses).sum()) / total,
        torch.cat(whole.labels).numpy(),
        torch.cat(whole.logits).numpy(),
        counter.rates(),
        counter.rate(),
        None if looks_ahead(network) else torch.stack(whole.correct).sum(0).numpy(),
        counter.input_rates(),
        None if synapses is None else synapses.operations(whole.counted_samples),
    )


@dataclass
class _Found:
    """The results of some batches, in order.

    Attributes:
        losses: Loss * samples, float32 ().
        labels: int64 (B,).
        logits: As `Evaluation.logits`, (B, classes).
        correct: As `Evaluation.correct_by_step`, (T,).
        counted_samples: Number of samples whose synaptic operations were counted.
    """

    losses: list[torch.Tensor] = field(default_factory=list)
    labels: list[torch.Tensor] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)
    correct: list[torch.Tensor] = field(default_factory=list)
    counted_samples: int = 0

    def on_cpu(self) -> _Found:
        losses, correct = ([value.cpu() for value in values] for values in (self.losses, self.correct))
        return _Found(losses, self.labels, self.logits, correct, self.counted_samples)


def _combine(group: Group, found: _Found, counter: SpikeCounter, synapses: SynapseCounter | None) -> _Found:
    """Join the results of all processes in the order of the batches, and add their counts to the counters.

    Counts are whole numbers, and every batch is computed and summed as by one process, so that the result is the same.
    """
    mine = (found.on_cpu(), counter.counts(), None if synapses is None else synapses.counts())
    whole = _Found()
    for rank, (part, spikes, operations) in enumerate(group.gather(mine)):
        whole.losses += part.losses
        whole.labels += part.labels
        whole.logits += part.logits
        whole.correct += part.correct
        whole.counted_samples += part.counted_samples
        if rank != group.rank:
            counter.add(spikes)
            if synapses is not None and operations is not None:
                synapses.add(operations)
    return whole


def costs_of(count: CostCount, network: torch.nn.Module, found: Evaluation, timesteps: float) -> InferenceCosts:
    """Calculate what an inference costs from an evaluation with `count.operations`.

    Args:
        count: The operations of the network.
        network: The network that was evaluated.
        found: Its evaluation.
        timesteps: See `mean_steps`.
    """
    assert found.synapses is not None
    return count.costs(network, found.input_rates, found.firing_rate, found.synapses, timesteps)


def mean_steps(data: RunData, indices: NDArray[np.int64]) -> float:
    """Mean number of time steps of the samples of a split; T if it does not vary."""
    return float(np.mean(data.frames.lengths[indices]))
