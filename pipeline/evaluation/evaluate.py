"""What a network reaches on a split: loss, accuracy over time, confusion, firing rates, and every sample's logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config.run_config import LossConfig
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData
from pipeline.evaluation.latency import correct_by_step, looks_ahead
from pipeline.evaluation.losses import answer_mask, spiking_loss, sum_logits
from pipeline.evaluation.wilson_interval import accuracy_interval
from pipeline.networks import SpikeCounter, reset_network
from pipeline.runs.result_json import EvaluatedTest


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One pass over a split, without gradients and in float32.

    Attributes:
        loss: Mean over the samples.
        labels: Class numbers, int64 (N,).
        logits: Summed over the time steps that count, float32 (N, classes).
        firing_rates: Spikes / (neurons * T * samples) of each spiking layer, by its name.
        firing_rate: The same over all layers.
        correct_by_step: Samples that the first t steps get right, t = 1 .. T, int64 (T,); None where a step's output
            depends on later frames.
        input_rates: `firing_rates`, and those of the other modules that were asked for.
    """

    loss: float
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    firing_rates: dict[str, float]
    firing_rate: float
    correct_by_step: NDArray[np.int64] | None
    input_rates: dict[str, float]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Class numbers, int64 (N,)."""
        return np.asarray(self.logits.argmax(1), np.int64)

    @property
    def correct(self) -> int:
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """A fraction."""
        return self.correct / len(self.labels)

    def latency_curve(self) -> list[float] | None:
        """A fraction for each t = 1 .. T: the accuracy of the first t steps; the last is `accuracy`."""
        if self.correct_by_step is None:
            return None
        return [int(correct) / len(self.labels) for correct in self.correct_by_step]

    def confusion(self) -> NDArray[np.int64]:
        """How often class `row` was taken for class `column`, int64 (classes, classes)."""
        classes = self.logits.shape[1]
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (self.labels, self.predictions), 1)
        return matrix

    def per_class_accuracy(self) -> list[float | None]:
        """A fraction for each class; None for a class without samples."""
        confusion = self.confusion()
        totals = confusion.sum(1)
        return [int(confusion[c, c]) / int(n) if n else None for c, n in enumerate(totals)]


def evaluate(network: torch.nn.Module, loader: FrameLoader, config: LossConfig, also: Iterable[str] = ()) -> Evaluation:
    """Run a network in evaluation mode over all batches of a loader; its training mode is as before afterwards.

    Args:
        network: On the loader's device.
        loader: Of a split.
        config: Of the loss.
        also: Modules whose spikes are counted besides; see `SpikeCounter`.
    """
    training = network.training
    network.eval()
    losses, labels, logits, correct = [], [], [], []
    try:
        with torch.no_grad(), SpikeCounter(network, also) as counter:
            for batch in loader.batches():
                counter.mask = batch.mask
                out = network(batch.frames)
                reset_network(network)
                losses.append(spiking_loss(out, batch.labels, config, batch.mask) * len(batch.labels))
                labels.append(batch.labels.cpu())
                counted = answer_mask(batch.mask, out, config.last_steps)
                logits.append(sum_logits(out, counted).cpu())
                correct.append(correct_by_step(out, batch.labels, counted))
    finally:
        network.train(training)
    total = len(loader.indices)
    return Evaluation(
        float(torch.stack(losses).sum()) / total,
        torch.cat(labels).numpy(),
        torch.cat(logits).numpy(),
        counter.rates(),
        counter.rate(),
        None if looks_ahead(network) else torch.stack(correct).sum(0).cpu().numpy(),
        counter.input_rates(),
    )


def mean_steps(data: RunData, indices: NDArray[np.int64]) -> float:
    """Steps of a sample of a split: T, or the mean of their lengths where it varies."""
    return float(np.mean(data.frames.lengths[indices]))


def describe_test(evaluation: Evaluation) -> EvaluatedTest:
    """The part of `result.json` that is about the test split, as plain values."""
    low, high = accuracy_interval(evaluation.correct, len(evaluation.labels))
    return {
        "test_loss": evaluation.loss,
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_samples": len(evaluation.labels),
        "correct": evaluation.correct,
        "per_class_accuracy": evaluation.per_class_accuracy(),
        "confusion": evaluation.confusion().tolist(),
        "latency_curve": evaluation.latency_curve(),
        "firing_rate": evaluation.firing_rate,
        "firing_rates": evaluation.firing_rates,
    }
