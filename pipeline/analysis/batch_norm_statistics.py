"""What batch norm's running average costs a network in evaluation, and how far time steps differ from it.

In training, batch norm normalises by the statistics of the batch: of each time step with `network.batch_norm` per-step,
of all steps together with joint. In evaluation it normalises every time step by one running average. If the statistics
of time steps differ, per-step normalises in evaluation otherwise than it was trained to. Estimating the averages again
(Wu and Johnson, arXiv 2105.07576, Section 3) mends averages that lag behind the weights, but not this difference.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import BatchNormOptions, SampledOptions
from pipeline.analysis.stored_result import AnalysisResult
from pipeline.data.loader import FrameLoader
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.evaluation.wilson_interval import accuracy_interval
from pipeline.layers.batch_norm import SequenceBatchNorm
from preprocess.errors import ConfigError


@dataclass(frozen=True)
class StatisticsRow:
    """The accuracy with one kind of statistics.

    Attributes:
        statistics: ``running``: the averages of the training, as evaluation uses them. ``batch``: those of the batch,
            as training uses them. ``estimated``: averages over training samples, taken with the selected weights.
        correct: Number of samples that are classified correctly.
        accuracy: The same as a fraction.
        low: Lower end of its 95 % interval over samples (Wilson).
        high: Upper end.
        same: Number of samples with the prediction of the running averages.
    """

    statistics: str
    correct: int
    accuracy: float
    low: float
    high: float
    same: int


@dataclass(frozen=True)
class NormLayer:
    """How far the time steps of one layer are from its running average, with the statistics of batches in all layers.

    Mean and variance of a time step are those of a channel over a batch and all pixels, averaged over batches. There is
    no dropout and no augmentation; the padding of samples with fewer time steps counts, as it does in training.

    Attributes:
        layer: Name of the layer.
        channels: Number of channels C.
        lag: The root mean square over channels of (average that the final weights would leave - running mean) / running
            standard deviation; near 0 if the running mean is up to date.
        shift: For each time step, the root mean square over channels of (mean of the step - running mean) / running
            standard deviation.
        scale: For each time step, the geometric mean over channels of standard deviation of the step / running
            standard deviation. Both include batch norm's eps.
    """

    layer: str
    channels: int
    lag: float
    shift: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class BatchNormResult(AnalysisResult):
    """Accuracies of the same weights with different statistics of batch norm, and the statistics of each layer.

    Attributes:
        mode: ``per-step`` or ``joint``, as the layers normalise; ``joint and per-step`` if they differ.
        batch: Number of samples of a batch.
        estimated_from: Number of training samples of the averages that were taken again.
        rows: The accuracies: running, batch, estimated.
        layers: The layers with batch norm, in the order of the network.
    """

    ANALYSIS: ClassVar[str] = "batch-norm"

    mode: str
    batch: int
    estimated_from: int
    rows: tuple[StatisticsRow, ...]
    layers: tuple[NormLayer, ...]

    @property
    def cause(self) -> Literal["averages", "time-steps", "samples"] | None:
        """What the errors are due to that disappear with the statistics of batches; None if none do beyond chance.

        ``time-steps``: one average for time steps that training normalises separately, where batch norm is per-step.
        Elsewhere ``averages``, which are out of date if new ones recover at least half of the errors, or ``samples``,
        which may differ from those of the training.
        """
        running, batch, estimated = self.rows
        if not self.subject.trained or batch.low <= running.high:
            return None
        if "per-step" in self.mode:
            return "time-steps"
        recovers = 2 * (estimated.correct - running.correct) >= batch.correct - running.correct
        return "averages" if recovers else "samples"


def analyse_batch_norm(target: Path | str | Analysed, options: BatchNormOptions | None = None) -> BatchNormResult:
    """Evaluate a network with batch norm's running average, with the statistics of batches, and with new averages.

    Args:
        target: A run folder, the name of a preset (whose network is not trained), or an opened one.
        options: The samples.

    Raises:
        RunError: If the run has no selected weights, or its data changed since the training.
        ConfigError: If the network has no batch norm with a running average.
        CacheError: If the data set has no event store.
    """
    options = options or BatchNormOptions()
    analysed = open_analysed(target)
    analysed.require_weights()
    data = analysed.open_data()
    # In random order: data sets are sorted by class, and batches of one class have other statistics than training has.
    shuffled = np.random.default_rng(options.seed).permutation
    indices = shuffled(analysed.choose_samples(data, options))
    of_training = shuffled(analysed.choose_samples(data, SampledOptions(options.samples, "train", options.seed)))
    loss = analysed.config.loss
    with analysed.device() as device:
        network, epoch = analysed.load_network(data, device)
        loader = analysed.load_samples(data, indices, device)
        batch, statistics = _with_batch_statistics(network, loader, analysed)
        if not statistics:
            raise ConfigError(
                f"{analysed.name}: expected a network with batch norm that has running averages, found none in "
                f"'{analysed.config.network.name}'. Choose another analysis."
            )
        running = evaluate(network, analysed.load_samples(data, indices, device), loss)
        _, of_samples = _with_batch_statistics(network, analysed.load_samples(data, of_training, device), analysed)
        estimated = copy.deepcopy(network)
        renewed_norms = _norms(estimated)
        for name, found_statistics in of_samples.items():
            found_statistics.replace_averages(renewed_norms[name])
        renewed = evaluate(estimated, analysed.load_samples(data, indices, device), loss)
        norms = _norms(network)
        layers = tuple(found.layer(name, norms[name]) for name, found in statistics.items())
    found = {"running": running, "batch": batch, "estimated": renewed}
    return BatchNormResult(
        subject=analysed.subject(data=data, part=options.part, samples=len(indices), epoch=epoch),
        mode=" and ".join(sorted({_mode_of(norms[name]) for name in statistics})),
        batch=loader.batch_size,
        estimated_from=len(of_training),
        rows=tuple(_row(name, each, running) for name, each in found.items()),
        layers=layers,
    )


class StepStatistics:
    """Sums over batches, weighted by their samples, of the statistics of each time step of a layer.

    Attributes:
        samples: Number of samples so far.
        mean: Sum of the means, float64 (T, C).
        variance: Sum of the unbiased variances within each time step of a batch, float64 (T, C).
        joint_variance: Sum of the unbiased variances of all time steps of a batch together, float64 (C,).
    """

    def __init__(self) -> None:
        self.samples = 0
        self.mean = self.variance = self.joint_variance = torch.zeros((), dtype=torch.float64)

    def add(self, x: torch.Tensor) -> None:
        """Add a batch (T, B, C, ...)."""
        batch, values = x.shape[1], x[0, :, 0].numel()
        # Step by step, because a complete sequence in double precision might not fit into the memory of a device.
        moments = [self._moments(step.detach()) for step in x]
        mean, square = (torch.stack(each) for each in zip(*moments, strict=True))
        joint = square.mean(0) - mean.mean(0).square()
        self.samples += batch
        self.mean = self.mean + batch * mean
        self.variance = self.variance + batch * _unbiased(square - mean.square(), values)
        self.joint_variance = self.joint_variance + batch * _unbiased(joint, values * len(x))

    @staticmethod
    def _moments(step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and mean square of each channel of (B, C, ...), float64 (C,)."""
        step = step.double()
        others = [dim for dim in range(step.dim()) if dim != 1]
        return step.mean(others).cpu(), step.square().mean(others).cpu()

    def averages(self, norm: _BatchNorm) -> tuple[torch.Tensor, torch.Tensor]:
        """The averages that training on these batches for ever would leave in a layer, float64 (C,).

        Per-step batch norm updates its averages at each time step, so that later steps count more: step t of T by
        (1 - momentum)^(T - t).
        """
        mean, variance = self.mean / self.samples, self.variance / self.samples
        if _mode_of(norm) != "per-step" or norm.momentum is None:
            return mean.mean(0), self.joint_variance / self.samples
        weights = (1.0 - norm.momentum) ** torch.arange(len(mean) - 1, -1, -1, dtype=torch.float64)
        weights = (weights / weights.sum())[:, None]
        return (weights * mean).sum(0), (weights * variance).sum(0)

    def replace_averages(self, norm: _BatchNorm) -> None:
        """Put `averages` in place of a layer's running averages."""
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance = self.averages(norm)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    def layer(self, name: str, norm: _BatchNorm) -> NormLayer:
        """The layer's distance from its running averages."""
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance = self.mean / self.samples, self.variance / self.samples
        running = norm.running_mean.double().cpu()
        deviation = (norm.running_var.double().cpu() + norm.eps).sqrt()
        lag = ((self.averages(norm)[0] - running) / deviation).square().mean().sqrt()
        shift = ((mean - running) / deviation).square().mean(1).sqrt()
        scale = ((variance + norm.eps).sqrt() / deviation).log().mean(1).exp()
        return NormLayer(name, norm.num_features, float(lag), tuple(shift.tolist()), tuple(scale.tolist()))


def _unbiased(variance: torch.Tensor, values: int) -> torch.Tensor:
    return variance.clamp(min=0.0) * (values / max(values - 1, 1))


def _with_batch_statistics(
    network: nn.Module, loader: FrameLoader, analysed: Analysed
) -> tuple[Evaluation, dict[str, StepStatistics]]:
    """Evaluate a copy of a network whose batch norm is in training mode; also the statistics of each layer."""
    copied = copy.deepcopy(network)
    norms = _norms(copied)
    found = {name: StepStatistics() for name in norms}

    def before(norm: Any, inputs: tuple[Any, ...], name: str) -> None:
        # `evaluate` puts the complete network into evaluation mode.
        norm.training = True
        found[name].add(_as_sequence(name, norm, inputs[0]))

    for name, norm in norms.items():
        # A hook also keeps batch norm apart from the neuron, so that its input exists.
        norm.register_forward_pre_hook(lambda norm, inputs, name=name: before(norm, inputs, name))
    evaluation = evaluate(copied, loader, analysed.config.loss)
    return evaluation, {name: each for name, each in found.items() if each.samples}


def _as_sequence(name: str, norm: _BatchNorm, x: torch.Tensor) -> torch.Tensor:
    """The input as (T, B, C, ...); as one time step if the layer gets (N, C, ...).

    Raises:
        ConfigError: If it is neither.
    """
    stepped = isinstance(norm, SequenceBatchNorm) or getattr(norm, "step_mode", "") == "m"
    if not stepped and x.dim() > 1 and x.shape[1] == norm.num_features:
        return x[None]
    if x.dim() > 2 and x.shape[2] == norm.num_features:
        return x
    raise ConfigError(
        f"{name}: expected {norm.num_features} channels in the second dimension of its input, or in the third of a "
        f"sequence, found the shape {tuple(x.shape)}. Use a layer of spikeloom, SpikingJelly or torch.nn."
    )


def _mode_of(norm: _BatchNorm) -> str:
    return str(getattr(norm, "mode", "joint"))


def _norms(network: nn.Module) -> dict[str, _BatchNorm]:
    modules = network.named_modules()
    return {name: each for name, each in modules if isinstance(each, _BatchNorm) and each.running_mean is not None}


def _row(statistics: str, found: Evaluation, reference: Evaluation) -> StatisticsRow:
    low, high = accuracy_interval(found.correct, len(found.labels))
    same = int((found.predictions == reference.predictions).sum())
    return StatisticsRow(statistics, found.correct, found.accuracy, low, high, same)
