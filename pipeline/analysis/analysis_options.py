"""The options of every analysis, which are also its options on the command line; does not load torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from preprocess.errors import ConfigError

Part = Literal["test", "train"]


@dataclass(frozen=True)
class AnalysisOptions:
    """The base class of an analysis's options.

    The docstring of a class is the help of `spikeloom analyse RUN_DIR ANALYSIS --help`, and the string below a field is
    the help of its option.

    Raises:
        ConfigError: With a line for each invalid value.
    """

    def __post_init__(self) -> None:
        errors = list(self.errors())
        if errors:
            raise ConfigError(*errors)

    def errors(self) -> Iterator[str]:
        """A line for each invalid value, ``--option: expected ..., found ...``."""
        yield from ()


@dataclass(frozen=True)
class SampledOptions(AnalysisOptions):
    """The base class of options for analyses that run the network on samples."""

    samples: int = 256
    """Number of samples, drawn at random; all if the split has fewer."""
    part: Part = "test"
    """Split that the samples are drawn from."""
    seed: int = 0
    """Random seed of the samples."""

    def errors(self) -> Iterator[str]:
        if self.samples < 1:
            yield f"--samples: expected at least 1, found {self.samples}"
        if self.seed < 0:
            yield f"--seed: expected at least 0, found {self.seed}"


@dataclass(frozen=True)
class GradientOptions(SampledOptions):
    """Parts of the gradient dL/du[t] by distance in time, and how far ds[t']/dx[t] reaches (the paper's Eqs. 10-24).

    Gradients are those of a training step at the selected weights. For runs with lif, clif, lif-reset1.8, clif-detached
    or clif-undecayed.

    Example: spikeloom analyse runs/train-n-mnist-small-1 gradients --samples 64
    """

    samples: int = 128
    """Number of samples, drawn at random; all if the split has fewer."""
    part: Part = "train"
    """Split that the samples are drawn from."""


@dataclass(frozen=True)
class RateOptions(SampledOptions):
    """Firing rates by layer and time step, silent and saturated neurons, and sparsity (the paper's Figure 11).

    Example: spikeloom analyse runs/train-n-mnist-small-1 rates --samples 500
    """

    saturated_above: float = 0.9
    """A neuron is saturated if it fires at more than this share of all time steps."""

    def errors(self) -> Iterator[str]:
        yield from super().errors()
        if not 0.0 < self.saturated_above < 1.0:
            yield f"--saturated-above: expected a share in (0, 1), found {self.saturated_above}"
