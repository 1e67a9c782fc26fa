"""Statistics of signals over time: inter-spike intervals, autocorrelation and autocovariance."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Intervals:
    """Inter-spike intervals in time steps.

    Attributes:
        counts: Number of intervals of 1, 2, ... steps, up to the longest; empty if no neuron fires twice.
        mean: Their mean; None if there are none.
        variation: Their coefficient of variation, standard deviation / mean; None if there are none.
    """

    counts: tuple[int, ...]
    mean: float | None
    variation: float | None


def spike_intervals(spikes: torch.Tensor) -> Intervals:
    """The intervals between consecutive spikes of each neuron, of all neurons together.

    Args:
        spikes: Not zero where a neuron fires, (T, N).
    """
    fires = (spikes != 0).T
    neuron, step = fires.nonzero(as_tuple=True)
    gaps = step.diff()[neuron.diff() == 0]
    if not len(gaps):
        return Intervals((), None, None)
    lengths = gaps.double()
    mean = float(lengths.mean())
    return Intervals(
        tuple(torch.bincount(gaps)[1:].tolist()), mean, float(lengths.std(correction=0)) / mean if mean else None
    )


def autocorrelation(signal: torch.Tensor, lags: int) -> torch.Tensor:
    """R[k] = 1/N sum over n of x[n] x[n - k], k = 0 .. lags, with x = 0 before the first step.

    (Huang et al., ICML 2024, Appendix F.) The mean is not subtracted, so that R of a signal that is never negative does
    not fall to zero.

    Args:
        signal: (T, N) float64; N = T in the formula.
        lags: The largest lag, less than T.

    Returns:
        The mean over the N signals, float64, shape (lags + 1,).
    """
    steps = len(signal)
    return torch.stack([(signal[lag:] * signal[: steps - lag]).sum(0).mean() / steps for lag in range(lags + 1)])


def autocovariance(signal: torch.Tensor, lags: int) -> torch.Tensor | None:
    """The correlation coefficient of a signal with itself k = 0 .. lags steps earlier; 1 at 0.

    The mean over time and signals is subtracted, and each lag is divided by the number of its pairs.

    Args:
        signal: (T, N) float64.
        lags: The largest lag, less than T.

    Returns:
        float64, shape (lags + 1,); None if the signal is constant.
    """
    steps = len(signal)
    centred = signal - signal.mean()
    found = torch.stack([(centred[lag:] * centred[: steps - lag]).mean() for lag in range(lags + 1)])
    # Rounding of a constant may leave a little.
    return found / found[0] if float(found[0]) > 1e-24 * float(signal.square().max()) else None
