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
from typing import Any, ClassVar

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

    Mean and variance of a time step are those of a channel over all samples and pixels.

    Attributes:
        layer: Name of the layer.
        channels: Number of channels C.
        lag: The root mean square over channels of (mean of all time steps - running mean) / running standard deviation:
            it is near 0 if the running average is up to date.
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
        mode: `network.batch_norm` of the configuration.
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
    def explains_errors(self) -> bool:
        """Whether the network is more accurate with the statistics of batches, beyond both intervals."""
        running, batch, _ = self.rows
        return batch.low > running.high


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
        if not _norms(network):
            raise ConfigError(
                f"{analysed.name}: expected a network with batch norm that has running averages, found none in "
                f"'{analysed.config.network.name}'"
            )
        running = evaluate(network, analysed.load_samples(data, indices, device), loss)
        loader = analysed.load_samples(data, indices, device)
        batch, statistics = _with_batch_statistics(network, loader, analysed)
        _, of_samples = _with_batch_statistics(network, analysed.load_samples(data, of_training, device), analysed)
        estimated = copy.deepcopy(network)
        for name, norm in _norms(estimated).items():
            of_samples[name].replace_averages(norm)
        renewed = evaluate(estimated, analysed.load_samples(data, indices, device), loss)
        norms = _norms(network)
        layers = tuple(found.layer(name, norms[name]) for name, found in statistics.items())
    found = {"running": running, "batch": batch, "estimated": renewed}
    return BatchNormResult(
        subject=analysed.subject(data=data, part=options.part, samples=len(indices), epoch=epoch),
        mode=analysed.config.network.batch_norm,
        batch=loader.batch_size,
        estimated_from=len(of_training),
        rows=tuple(_row(name, each, running) for name, each in found.items()),
        layers=layers,
    )


class StepStatistics:
    """Sums over samples of the statistics of each time step of a layer.

    Attributes:
        samples: Number of samples that have each time step, float64 (T,).
        mean: Sum over samples of the means over pixels, float64 (T, C).
        square: Sum over samples of the means of squares, float64 (T, C).
        values: Number of values of a channel in a time step of the last batch.
    """

    def __init__(self) -> None:
        self.samples = torch.zeros(0, dtype=torch.float64)
        self.mean = self.square = torch.zeros(0, 0, dtype=torch.float64)
        self.values = 0

    def add(self, x: torch.Tensor) -> None:
        """Add a batch (T, B, C, ...)."""
        x = x.detach().double()
        others = [dim for dim in range(1, x.dim()) if dim != 2]
        batch = x.shape[1]
        self.values = x[0, :, 0].numel()
        self.samples = _added(self.samples, x.new_full((len(x),), batch))
        self.mean = _added(self.mean, batch * x.mean(others))
        self.square = _added(self.square, batch * x.square().mean(others))

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of each time step, float64 (T, C)."""
        mean = self.mean / self.samples[:, None]
        return mean, (self.square / self.samples[:, None] - mean.square()).clamp_(min=0.0)

    def replace_averages(self, norm: _BatchNorm) -> None:
        """Put the averages over samples in place of a layer's running averages; variances as training averages them."""
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance = self.moments()
        share = (self.samples / self.samples.sum())[:, None]
        average = (share * mean).sum(0)
        inner = (share * variance).sum(0)
        values = self.values
        if getattr(norm, "mode", "joint") == "joint":
            inner += (share * (mean - average).square()).sum(0)
            values *= len(mean)
        norm.running_mean.copy_(average)
        norm.running_var.copy_(inner * values / max(values - 1, 1))

    def layer(self, name: str, norm: _BatchNorm) -> NormLayer:
        """The layer's distance from its running averages."""
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance = self.moments()
        deviation = (norm.running_var.double().cpu() + norm.eps).sqrt()
        running = norm.running_mean.double().cpu()
        share = (self.samples / self.samples.sum())[:, None]
        lag = (((share * mean).sum(0) - running) / deviation).square().mean().sqrt()
        shift = ((mean - running) / deviation).square().mean(1).sqrt()
        scale = ((variance + norm.eps).sqrt() / deviation).log().mean(1).exp()
        return NormLayer(name, norm.num_features, float(lag), tuple(shift.tolist()), tuple(scale.tolist()))


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
        x = inputs[0]
        found[name].add(x if _takes_sequences(norm, x) else x[None])

    for name, norm in norms.items():
        # A hook also keeps batch norm apart from the neuron, so that its input exists.
        norm.register_forward_pre_hook(lambda norm, inputs, name=name: before(norm, inputs, name))
    evaluation = evaluate(copied, loader, analysed.config.loss)
    return evaluation, {name: each for name, each in found.items() if len(each.samples)}


def _takes_sequences(norm: _BatchNorm, x: torch.Tensor) -> bool:
    """Whether the input is (T, B, C, ...), and not (N, C, ...)."""
    return x.dim() == 5 or (x.dim() > 3 and isinstance(norm, nn.BatchNorm1d))


def _norms(network: nn.Module) -> dict[str, _BatchNorm]:
    modules = network.named_modules()
    return {name: each for name, each in modules if isinstance(each, _BatchNorm) and each.running_mean is not None}


def _added(total: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """The sum of two sequences (T, ...), of which one may have fewer time steps."""
    more = more.cpu()
    grown = torch.zeros(max(len(total), len(more)), *more.shape[1:], dtype=torch.float64)
    grown[: len(more)] += more
    if len(total):
        grown[: len(total)] += total
    return grown


def _row(statistics: str, found: Evaluation, reference: Evaluation) -> StatisticsRow:
    low, high = accuracy_interval(found.correct, len(found.labels))
    same = int((found.predictions == reference.predictions).sum())
    return StatisticsRow(statistics, found.correct, found.accuracy, low, high, same)
