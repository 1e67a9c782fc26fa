"""The options of every analysis, which are also its options on the command line; does not load torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocess.errors import ConfigError

Part = Literal["test", "train"]
Disturbance = Literal["noise", "hot-pixels", "dropped", "jitter", "timesteps"]

# More would not fit into memory, or into the integers of Poisson numbers.
MOST_STEPS, MOST_RATE = 20_000, 1e6


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
        """A line for each invalid value: too few samples, or a negative seed."""
        if self.samples < 1:
            yield f"--samples: expected at least 1, found {self.samples}"
        if self.seed < 0:
            yield f"--seed: expected at least 0, found {self.seed}"


@dataclass(frozen=True)
class GradientOptions(SampledOptions):
    """Parts of the gradient dL/du[t] by distance in time, and how far ds[t']/dx[t] reaches (the paper's Eqs. 10-24).

    Gradients are those of a training step at the selected weights, with neuron.temporal_window if the run has one. For
    runs with lif, clif, lif-reset1.8, clif-detached, clif-undecayed, if, plif or klif.

    Example: spikeloom analyse runs/train-n-mnist-small-1 gradients --samples 64
    """

    samples: int = 128
    """Number of samples, drawn at random; all if the split has fewer."""
    part: Part = "train"
    """Split that the samples are drawn from."""


@dataclass(frozen=True)
class DynamicsOptions(SampledOptions):
    """Traces of u, m and spikes, inter-spike intervals, rate over input, autocorrelation (the paper's Figures 7 and 8).

    Neurons have the settings of the run or preset: lif, clif, lif-reset1.8, clif-detached, clif-undecayed or if; with
    --layer also plif or klif, if the run has it. All of them receive the same input.

    Example: spikeloom analyse n-mnist-small dynamics --neurons lif clif --input poisson --steps 200

    What a layer of a run does: spikeloom analyse runs/train-n-mnist-small-1 dynamics --layer features.conv2
    """

    neurons: tuple[str, ...] = ()
    """Neurons to compare (default: lif, clif and that of the run)."""
    layer: str | None = None
    """Use the input currents of this layer of the run for samples of its data, instead of --input."""
    input: str = "poisson"
    """poisson: input spikes at random. constant: the same current at each time step. Or a file with the current of each
    time step: a .npy array, or text with one number per line."""
    steps: int = 200
    """Number of time steps T with poisson and constant input."""
    amplitude: float = 0.6
    """Current of an input spike, or the constant current."""
    rate: float = 1.0
    """Mean number of Poisson input spikes per time step."""
    tau: float | None = None
    """Time constant of all neurons in time steps (default: that of the run)."""
    lags: int = 50
    """Largest lag of the autocorrelation, in time steps."""

    def errors(self) -> Iterator[str]:
        """A line for each invalid value, those of the samples included; an input file is checked when it is read."""
        yield from super().errors()
        if not 2 <= self.steps <= MOST_STEPS:
            yield f"--steps: expected 2 to {MOST_STEPS} time steps, found {self.steps}"
        if not math.isfinite(self.amplitude):
            yield f"--amplitude: expected a finite number, found {self.amplitude}"
        if not 0.0 <= self.rate <= MOST_RATE:
            yield f"--rate: expected 0 to {MOST_RATE:g} input spikes per time step, found {self.rate}"
        if self.tau is not None and not 1.0 < self.tau < math.inf:
            yield f"--tau: expected more than 1 time step, found {self.tau}"
        if self.lags < 1:
            yield f"--lags: expected at least 1 time step, found {self.lags}"


@dataclass(frozen=True)
class RateOptions(SampledOptions):
    """Firing rates by layer and time step, silent and saturated neurons, and sparsity (the paper's Figure 11).

    Example: spikeloom analyse runs/train-n-mnist-small-1 rates --samples 500
    """

    saturated_above: float = 0.9
    """A neuron is saturated if it fires at more than this share of all time steps."""

    def errors(self) -> Iterator[str]:
        """A line for each invalid value; the threshold of saturation is in (0, 1)."""
        yield from super().errors()
        if not 0.0 < self.saturated_above < 1.0:
            yield f"--saturated-above: expected a share in (0, 1), found {self.saturated_above}"


@dataclass(frozen=True)
class EnergyOptions(SampledOptions):
    """What one inference costs: Table 6, Table 7's memory accesses, NeuroBench's metrics, and a count without zeros.

    Example: spikeloom analyse runs/train-n-mnist-small-1 energy --samples 500
    """


@dataclass(frozen=True)
class InferenceOptions(SampledOptions):
    """Accuracy of trained weights with the dynamics of LIF, with soft reset and hard resets (the paper's Table 8).

    For runs with lif, clif, lif-reset1.8, clif-detached or clif-undecayed.

    Example: spikeloom analyse runs/train-n-mnist-small-1 inference

    Write the most accurate one with hard reset as a NIR graph: spikeloom analyse RUN_DIR inference --nir network.nir
    """

    samples: int = 1000
    """Number of samples, drawn at random; all if the split has fewer."""
    resets: tuple[float, ...] = (0.0, -0.02, -0.04, -0.06, -0.08, -0.1)
    """Values of the hard reset, in the unit of neuron.v_threshold: the potential after a spike, at rest and before the
    first step."""
    nir: Path | None = None
    """Also write the network with the most accurate hard reset as a NIR graph to this file."""

    def errors(self) -> Iterator[str]:
        """A line for each invalid value; resets are finite here, and compared with the run's threshold later."""
        yield from super().errors()
        if not self.resets:
            yield "--resets: expected at least one value, found none"
        for value in self.resets:
            if not math.isfinite(value):
                yield f"--resets: expected finite values, found {value}"


@dataclass(frozen=True)
class BatchNormOptions(SampledOptions):
    """Accuracy with batch norm's running average, with the statistics of batches, and with an average estimated again.

    Example: spikeloom analyse runs/train-n-mnist-small-1 batch-norm
    """

    samples: int = 1000
    """Number of samples, drawn at random, and of training samples that averages are estimated from; all if a split has
    fewer."""


@dataclass(frozen=True)
class RobustnessOptions(SampledOptions):
    """Accuracy with test-time noise events, hot pixels, dropped events, time jitter, and other time steps.

    Events are changed before they are binned. Without an event store, or if T varies, frames are changed instead, which
    cannot express jitter and other T.

    Example: spikeloom analyse runs/train-n-mnist-small-1 robustness

    Only time steps: spikeloom analyse RUN_DIR robustness --kinds timesteps --timesteps 2 4 8 16
    """

    samples: int = 500
    """Number of samples, drawn at random; all if the split has fewer."""
    kinds: tuple[Disturbance, ...] = ("noise", "hot-pixels", "dropped", "jitter", "timesteps")
    """Kinds of disturbance."""
    noise: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0)
    """Number of noise events as shares of a sample's events; they are uniform over pixels, time and polarity."""
    hot_pixels: tuple[int, ...] = (1, 2, 5, 10, 20)
    """Numbers of pixels that fire at --hot-hz whatever they see; each sample has others."""
    hot_hz: float = 500.0
    """Events per second of a hot pixel."""
    dropped: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Probabilities with which events are dropped."""
    jitter_ms: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """Standard deviations in ms of normal noise on the time of each event."""
    timesteps: tuple[int, ...] = ()
    """Other T (default: half and twice the trained one)."""

    def errors(self) -> Iterator[str]:
        """A line for each invalid value: no kinds, or a level or T outside its range."""
        yield from super().errors()
        if not self.kinds:
            yield "--kinds: expected at least one, found none"
        for name, values, most in (
            ("--noise", self.noise, 100.0),
            ("--hot-pixels", self.hot_pixels, 1_000_000),
            ("--dropped", self.dropped, 1.0),
            ("--jitter-ms", self.jitter_ms, 1e6),
        ):
            wrong = [value for value in values if not 0 < value <= most]
            if wrong:
                yield f"{name}: expected more than 0 and at most {most:g}, found {', '.join(f'{w:g}' for w in wrong)}"
        if not 0 < self.hot_hz <= 1e6:
            yield f"--hot-hz: expected more than 0 and at most 1e+06 events per second, found {self.hot_hz:g}"
        wrong_steps = [steps for steps in self.timesteps if not 1 <= steps <= MOST_STEPS]
        if wrong_steps:
            yield f"--timesteps: expected 1 to {MOST_STEPS}, found {', '.join(map(str, wrong_steps))}"
