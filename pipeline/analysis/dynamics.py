"""How single neurons respond: traces, inter-spike intervals, rate over input, autocorrelation.

(Huang et al., ICML 2024, Appendix F, Figures 7 and 8.) Neurons are compared on the same input currents, with the
settings of a run or preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import DynamicsOptions
from pipeline.analysis.input_currents import layer_currents, poisson_current, read_current
from pipeline.analysis.neuron_equations import Equations, equations_of, named_equations, trace
from pipeline.analysis.spike_statistics import Intervals, autocorrelation, autocovariance, spike_intervals
from pipeline.analysis.stored_result import AnalysisResult, Subject

# Neurons that get independent Poisson input, over which statistics are taken.
_REPEATS = 256
# Points of a curve of rate over input, and Poisson sequences for each of them; the time steps that are left out at the
# beginning, and those that count.
_POINTS, _CURVE_REPEATS = 41, 10
SETTLING, CURVE_STEPS = 100, 1000
# Bins of a layer's neurons by their mean input.
_BINS = 20


@dataclass(frozen=True)
class RateCurve:
    """Firing rate over input current.

    Attributes:
        kind: ``constant``, ``poisson``, or ``layer`` for a layer's neurons in bins of equal size by mean input.
        inputs: Mean input current per time step.
        rates: Spikes per time step, likewise.
    """

    kind: str
    inputs: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class SignalCorrelation:
    """A signal's similarity with itself k steps earlier, k = 0 .. lags.

    Attributes:
        signal: ``u``, ``m`` or ``s``.
        autocorrelation: R[k] as the paper defines it, without subtracting the mean.
        autocovariance: With the mean subtracted, divided by its value at 0; None for a constant signal.
    """

    signal: str
    autocorrelation: tuple[float, ...]
    autocovariance: tuple[float, ...] | None


@dataclass(frozen=True)
class NeuronDynamics:
    """What one neuron does.

    Attributes:
        neuron: Name of the neuron.
        u: Trace of the potential before firing, one value per time step.
        m: Trace of the complementary potential after the step; None for a neuron without it.
        spikes: Trace of the output, 0 or 1.
        rate: Spikes per time step, over all inputs.
        intervals: Inter-spike intervals, of all inputs.
        curves: Firing rate over input.
        correlations: Of u, m and s, as means over all inputs.
    """

    neuron: str
    u: tuple[float, ...]
    m: tuple[float, ...] | None
    spikes: tuple[int, ...]
    rate: float
    intervals: Intervals
    curves: tuple[RateCurve, ...]
    correlations: tuple[SignalCorrelation, ...]


@dataclass(frozen=True)
class DynamicsResult(AnalysisResult):
    """The dynamics of neurons on the same input.

    Attributes:
        input: ``poisson``, ``constant``, the path of a file, or ``layer``.
        layer: The layer that the input is of; "" without one.
        amplitude: Input current of an input spike, or the constant.
        input_rate: Mean number of Poisson input spikes per time step.
        tau: Time constant of all neurons, in time steps.
        v_threshold: Their threshold.
        steps: T of the traces.
        inputs: Number of input sequences that statistics are over; traces are of the first, or of a layer of one that
            makes its neuron fire.
        current: The traced input current, one value per time step.
        neurons: The neurons.
    """

    ANALYSIS: ClassVar[str] = "dynamics"

    input: str
    layer: str
    amplitude: float
    input_rate: float
    tau: float
    v_threshold: float
    steps: int
    inputs: int
    current: tuple[float, ...]
    neurons: tuple[NeuronDynamics, ...]


@dataclass(frozen=True, eq=False)
class _Input:
    """Input currents (T, N), where traces are of the column `traced`."""

    current: torch.Tensor
    traced: int
    equations: dict[str, Equations]
    subject: Subject


def analyse_dynamics(target: Path | str | Analysed, options: DynamicsOptions | None = None) -> DynamicsResult:
    """Run neurons on Poisson input, a constant, a given current, or what a layer of a run receives.

    Args:
        target: A run folder or the name of a preset, whose neuron settings are used, or an opened one. Weights and data
            are only needed for a layer.
        options: The neurons and their input.

    Raises:
        ConfigError: If a neuron's equations are not known here, tau is not greater than 1, or there is no such layer or
            input file.
        RunError: If a layer of a run without selected weights is given.
        CacheError: If a layer is given, and the data set has no event store.
    """
    options = options or DynamicsOptions()
    analysed = open_analysed(target)
    given = _layer_input(analysed, options) if options.layer else _made_input(analysed, options)
    first = next(iter(given.equations.values()))
    lags = min(options.lags, len(given.current) - 1)
    return DynamicsResult(
        subject=given.subject,
        input="layer" if options.layer else options.input,
        layer=options.layer or "",
        amplitude=options.amplitude,
        input_rate=options.rate,
        tau=analysed.config.neuron.tau if options.tau is None else options.tau,
        v_threshold=first.v_threshold,
        steps=len(given.current),
        inputs=given.current.shape[1],
        current=tuple(given.current[:, given.traced].tolist()),
        neurons=tuple(_dynamics(name, each, given, options, lags) for name, each in given.equations.items()),
    )


def _names(analysed: Analysed, options: DynamicsOptions) -> tuple[str, ...]:
    """The neurons to compare, without repetition; LIF first by default, as in comparisons."""
    return tuple(dict.fromkeys(options.neurons or ("lif", "clif", analysed.config.neuron.name)))


def _changes(options: DynamicsOptions) -> dict[str, float]:
    return {} if options.tau is None else {"tau": options.tau}


def _made_input(analysed: Analysed, options: DynamicsOptions) -> _Input:
    config = analysed.config.neuron
    changes = _changes(options)
    equations = {name: named_equations(name, config, **changes) for name in _names(analysed, options)}
    if options.input == "poisson":
        current = poisson_current(options.steps, _REPEATS, options.rate, options.amplitude, options.seed)
    elif options.input == "constant":
        current = torch.full((options.steps, 1), options.amplitude, dtype=torch.float64)
    else:
        current = read_current(Path(options.input).expanduser().absolute())
    return _Input(current, 0, equations, replace(analysed.subject(), network="", timesteps=0))


def _layer_input(analysed: Analysed, options: DynamicsOptions) -> _Input:
    analysed.require_weights()
    data = analysed.open_data()
    current, layer, samples, epoch = layer_currents(analysed, data, options)
    names = _names(analysed, options)
    config = analysed.config.neuron
    # The layer's own neuron, whose threshold may differ from the configured one.
    own = equations_of(layer, f"--layer {options.layer}")
    changes = {"v_threshold": own.v_threshold} | _changes(options)
    equations = {
        name: own if name == config.name and not _changes(options) else named_equations(name, config, **changes)
        for name in names
    }
    subject = analysed.subject(data=data, part=options.part, samples=samples, epoch=epoch)
    return _Input(current, _lively(own, current, options.seed), equations, subject)


def _lively(equations: Equations, current: torch.Tensor, seed: int) -> int:
    """A column whose neuron fires at least twice, drawn at random; that with most spikes if there is none."""
    spikes = trace(equations, current).spikes.sum(0)
    candidates = (spikes >= 2).nonzero().flatten().tolist() or [int(spikes.argmax())]
    return int(np.random.default_rng(seed).choice(candidates))


def _dynamics(name: str, equations: Equations, given: _Input, options: DynamicsOptions, lags: int) -> NeuronDynamics:
    along = trace(equations, given.current)
    k = given.traced
    signals = {"u": along.u, "m": along.m, "s": along.spikes}
    return NeuronDynamics(
        neuron=name,
        u=tuple(along.u[:, k].tolist()),
        m=None if along.m is None else tuple(along.m[:, k].tolist()),
        spikes=tuple(along.spikes[:, k].int().tolist()),
        rate=float(along.spikes.mean()),
        intervals=spike_intervals(along.spikes),
        curves=_curves(equations, given, along.spikes, options),
        correlations=tuple(_correlation(key, signal, lags) for key, signal in signals.items() if signal is not None),
    )


def _correlation(key: str, signal: torch.Tensor, lags: int) -> SignalCorrelation:
    covariance = autocovariance(signal, lags)
    found = None if covariance is None else tuple(covariance.tolist())
    return SignalCorrelation(key, tuple(autocorrelation(signal, lags).tolist()), found)


def _curves(
    equations: Equations, given: _Input, spikes: torch.Tensor, options: DynamicsOptions
) -> tuple[RateCurve, ...]:
    if options.layer:
        return (_layer_curve(given.current, spikes),)
    # Up to where LIF fires at every step.
    inputs = torch.linspace(0.0, 1.5 * equations.v_threshold / equations.gain, _POINTS, dtype=torch.float64)
    constant = inputs.expand(SETTLING + CURVE_STEPS, -1)
    curves = [_curve("constant", equations, inputs, constant)]
    if options.input == "poisson" and options.amplitude > 0:
        # Independent input spikes at each rate, the same for all neurons.
        rng = np.random.default_rng(options.seed)
        counts = rng.poisson((inputs / options.amplitude).numpy(), (SETTLING + CURVE_STEPS, _CURVE_REPEATS, _POINTS))
        poisson = torch.from_numpy(options.amplitude * counts.astype(np.float64))
        curves.append(_curve("poisson", equations, inputs, poisson))
    return tuple(curves)


def _curve(kind: str, equations: Equations, inputs: torch.Tensor, current: torch.Tensor) -> RateCurve:
    rates = trace(equations, current).spikes[SETTLING:].flatten(0, -2).mean(0)
    return RateCurve(kind, tuple(inputs.tolist()), tuple(rates.tolist()))


def _layer_curve(current: torch.Tensor, spikes: torch.Tensor) -> RateCurve:
    mean, rate = current.mean(0), spikes.mean(0)
    order = mean.argsort()
    bins = [part for part in order.tensor_split(_BINS) if len(part)]
    points: Mapping[float, float] = {float(mean[part].mean()): float(rate[part].mean()) for part in bins}
    return RateCurve("layer", tuple(points), tuple(points.values()))
