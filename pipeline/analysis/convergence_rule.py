"""Whether the training of a run had ended: a rule on its learning curve, and the epoch at which it reached an accuracy.

The rule asks how much the training accuracy would still rise if the run were trained for twice as many epochs, with the
same schedule stretched to them. A run has converged if that is at most `MOST_GAIN`, which is seen in one of two ways:

- fitted: over the last quarter of the epochs, the training accuracy is at least `FITTED`. Nothing is left to gain.
- flat: the projected gain, which cannot exceed what is missing to an accuracy of 1, is at most `MOST_GAIN`.

The projection cannot look at the last epochs alone: a cosine schedule makes every curve flat at its end, because the
learning rate goes to 0 (the last quarter of its epochs has 2.5 % of the sum of all learning rates). So time is the sum
of the learning rates so far, s, which is 1 at the end of the run and 2 at the end of a run twice as long, and what a
falling learning rate alone brings is a term of its own:

    value(epoch) = a - b phi((s - s_0) / tau) - c rate(epoch) + noise,    b >= 0,    0 <= c <= a fifth of the range

of training accuracy and minus training loss, with phi, common to both, an exponential, a power law (1 + x)^(-1/2), a
late fall exp(-x^3) or a logistic 1 / (1 + exp((2 x - 1) / w)) of three widths w, and tau from 0.03 to 3 runs. Gains b
(phi(end of the run) - phi(end of twice the run)) in accuracy are averaged over all of these shapes and over b = 0, each
weighted by its likelihood (Gaussian noise of unknown variance) and by its prior: one half for b = 0, the rest shared,
and 1/sqrt(n) for each b, as in the Bayesian information criterion (Schwarz 1978). The limit of c matters: without it, a
whole curve under a cosine schedule could be put down to the falling learning rate.

A run whose training accuracy fell has not converged either, whatever is projected: over the last quarter of the
epochs, it is more than `MOST_FALL` below that of an earlier quarter or of the run of half the epochs. Smaller falls are
noise of small data sets.

What the rule cannot see: a run of fewer than `FEWEST_EPOCHS` epochs is too short for a projection; a run that has
hardly learned may be on the plateau before the learning begins. Neither counts as converged. Nor does the rule know the
test accuracy, which may change after the training samples are fitted. How often the rule is wrong is measured by
`tests/test_pipeline/analysis/test_convergence_rule.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FITTED = 0.99
MOST_GAIN = 0.0125
MOST_FALL = 0.05
FEWEST_EPOCHS = 20
# Less than this share of the way from chance to all training samples: the run has hardly learned.
_LEARNED = 0.25
# The fit leaves out the epochs before this share of the summed learning rates, whose shape is that of the beginning.
_FIT_FROM = 0.1
# The largest share of a curve's range that a falling learning rate alone may explain.
_MOST_BY_RATE = 0.2
_TAUS = np.geomspace(0.03, 3.0, 16)
# Widths of a logistic rise, relative to the time of its middle.
_WIDTHS = (0.1, 0.2, 0.33)

State = Literal["fitted", "flat", "improving", "fell", "too short", "hardly learned"]

_REASONS: Mapping[State, str] = {
    "fitted": "fits its training samples",
    "flat": "no longer improves",
    "improving": "still improving",
    "fell": "its training accuracy fell",
    "too short": "too few epochs to tell",
    "hardly learned": "has hardly learned",
}


@dataclass(frozen=True)
class Convergence:
    """How far the training of a run came. Accuracies, and changes of them, are fractions.

    Attributes:
        state: fitted and flat are converged; see the module for the rule.
        epochs: The number of epochs trained.
        accuracy: Training accuracy, averaged over the last quarter of the epochs (at least two).
        accuracy_change: The same minus that of the quarter before; None with fewer than four epochs.
        loss_change: The change of the training loss between these two quarters; None with fewer than four epochs.
        projected_gain: How much the training accuracy would still rise in twice as many epochs; None if nothing was
            projected, because the run is fitted, too short or has hardly learned.
        gap: Training accuracy minus test accuracy; None without a test accuracy.
        fitted_epoch: The first epoch whose training accuracy is at least `FITTED`; None if no epoch reached it.
    """

    state: State
    epochs: int
    accuracy: float
    accuracy_change: float | None
    loss_change: float | None
    projected_gain: float | None
    gap: float | None
    fitted_epoch: int | None

    @property
    def converged(self) -> bool:
        """Whether the training accuracy is fitted or flat, so that more epochs would change little."""
        return self.state in ("fitted", "flat")

    @property
    def reason(self) -> str:
        """Why it counts as converged or not, such as "still improving"."""
        return _REASONS[self.state]


def assess_convergence(
    rows: Sequence[Mapping[str, Any]],
    *,
    classes: int | None = None,
    test_accuracy: float | None = None,
    half: Sequence[Mapping[str, Any]] = (),
) -> Convergence | None:
    """Assess the learning curve of a finished run.

    Args:
        rows: Its rows of ``metrics.jsonl`` (`pipeline.runs.result_json.MetricsRow`).
        classes: The number of classes, for the accuracy by chance; None counts chance as 0.
        test_accuracy: Its test accuracy, for the gap.
        half: The rows of a run with half of the epochs and otherwise the same settings, if there is one: a measured
            gain from its end to that of the run replaces the projected one.

    Returns:
        None if there is no epoch with a training accuracy.
    """
    known = [row for row in rows if row.get("train_accuracy") is not None]
    if not known:
        return None
    accuracies, losses = _column(known, "train_accuracy"), _column(known, "train_loss")
    accuracy, accuracy_change = _last_quarter(accuracies)
    _, loss_change = _last_quarter(losses)
    chance = 1 / classes if classes else 0.0
    gain: float | None = None
    state: State
    if accuracy >= FITTED:
        state = "fitted"
    elif accuracy < chance + _LEARNED * (1 - chance):
        state = "hardly learned"
    else:
        if half:
            gain = accuracy - _last_quarter(_column(half, "train_accuracy"))[0]
        elif len(known) >= FEWEST_EPOCHS:
            # A projection does not know that no accuracy exceeds 1.
            gain = min(projected_gain(accuracies, losses, _column(known, "learning_rate", 1.0)), 1 - accuracy)
        fall = max(_best_quarter(accuracies) - accuracy, -gain if gain is not None else 0.0)
        state = "fell" if fall > MOST_FALL else "too short" if gain is None else _by_gain(gain)
    reached = np.flatnonzero(accuracies >= FITTED)
    return Convergence(
        state,
        len(known),
        accuracy,
        accuracy_change,
        loss_change,
        gain,
        None if test_accuracy is None else accuracy - test_accuracy,
        int(known[reached[0]]["epoch"]) if len(reached) else None,
    )


def epochs_to(rows: Sequence[Mapping[str, Any]], accuracy: float) -> float | None:
    """The number of epochs after which a run first reached a training accuracy; None if it never did.

    Interpolated linearly between the two epochs around it, from 0 before the first. The training accuracy of an epoch
    is that of its batches while they are trained, so it is a little behind the accuracy after the epoch.

    Args:
        rows: The rows of ``metrics.jsonl``.
        accuracy: The training accuracy to reach, a fraction.
    """
    before = 0.0
    for row in rows:
        now = row.get("train_accuracy")
        if now is None:
            continue
        if now >= accuracy:
            rise = now - before
            return float(row["epoch"] - 1 + ((accuracy - before) / rise if rise > 0 else 1.0))
        before = now
    return None


def projected_gain(accuracies: NDArray[np.float64], losses: NDArray[np.float64], rates: NDArray[np.float64]) -> float:
    """How much the training accuracy would still rise in twice as many epochs; see the module for the model.

    Args:
        accuracies: The training accuracy of each epoch, float64 (epochs,), fractions.
        losses: The training loss of each epoch, float64 (epochs,).
        rates: The learning rate of each epoch, float64 (epochs,), not all 0.

    Returns:
        A fraction, at least 0.
    """
    # An epoch's value is measured while it is trained: in its middle.
    time = (np.cumsum(rates) - rates / 2) / rates.sum()
    kept = time >= _FIT_FROM
    time, rate = time[kept], rates[kept] / rates.max()
    shapes, ends = _shapes(time - time[0]), _shapes(np.array([1.0, 2.0]) - time[0])
    count, parameter = len(time), 1 / math.sqrt(len(time))
    # The last entry is that of b = 0.
    logs = np.log(np.append(np.full(len(shapes), parameter**2 / len(shapes)), 1.0))
    gains = np.zeros(len(logs))
    for values in (-losses, accuracies):
        y = values[kept]
        learned, squares = _fit(y - y.mean(), -shapes, -rate, _MOST_BY_RATE * float(np.ptp(values)))
        # Residuals below the resolution of an accuracy say nothing.
        logs = logs - (count - 2) / 2 * np.log(np.maximum(squares, 1e-9))
        gains[:-1] = learned * (ends[:, 0] - ends[:, 1])
    weights = np.exp(logs - logs.max())
    return float((weights * gains).sum() / weights.sum())


def _fit(
    y: NDArray[np.float64], shapes: NDArray[np.float64], rate: NDArray[np.float64], most: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of y on each shape and the rate.

    Args:
        y: Centred values, float64 (epochs,).
        shapes: float64 (shapes, epochs), whose coefficients are at least 0.
        rate: float64 (epochs,), whose coefficient is between 0 and `most`.
        most: See `rate`.

    Returns:
        The coefficient of each shape, and the residual sum of squares with each of them and, last, with none.
    """
    p, e = shapes - shapes.mean(1, keepdims=True), rate - rate.mean()
    pp, ee, pe, py, ey, yy = (p * p).sum(1), float(e @ e), p @ e, p @ y, float(e @ y), float(y @ y)
    determinant = pp * ee - pe**2
    # With a constant rate, and where a shape is as the rate, the shape takes all.
    apart = determinant > 1e-9 * pp * ee + 1e-30
    of_rate = np.where(apart, (ey * pp - py * pe) / np.where(apart, determinant, 1.0), 0.0).clip(0.0, most)
    of_shape = np.maximum((py - of_rate * pe) / pp, 0.0)
    rate_alone = min(max(ey / ee, 0.0), most) if ee > 1e-12 else 0.0
    alone = yy - 2 * rate_alone * ey + rate_alone**2 * ee
    squares = yy - 2 * of_shape * py - 2 * of_rate * ey
    squares += of_shape**2 * pp + 2 * of_shape * of_rate * pe + of_rate**2 * ee
    # Where b is 0, the rate's own optimum is the best there is.
    return of_shape, np.append(np.where(of_shape > 0, squares, alone), alone)


def _shapes(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every shape at these times, float64 (shapes, times): from 1, or for a logistic almost 1, at time 0 towards 0."""
    scaled = time[None] / _TAUS[:, None]
    # The exponent's limit avoids an overflow and changes nothing: what is left is below 1e-21.
    logistic = [1 / (1 + np.exp(np.minimum((2 * scaled - 1) / width, 50.0))) for width in _WIDTHS]
    return np.concatenate([np.exp(-scaled), (1 + scaled) ** -0.5, np.exp(-(scaled**3)), *logistic])


def _by_gain(gain: float) -> State:
    """Flat only if the gain is known to be small: that of a curve with a missing value is NaN."""
    return "flat" if gain <= MOST_GAIN else "improving"


def _last_quarter(values: NDArray[np.float64]) -> tuple[float, float | None]:
    """The mean over the last quarter of the epochs (at least two), and minus that of the quarter before."""
    count = max(2, math.ceil(len(values) / 4))
    last = float(values[-count:].mean())
    return last, last - float(values[-2 * count : -count].mean()) if len(values) >= 2 * count else None


def _best_quarter(values: NDArray[np.float64]) -> float:
    """The highest mean over as many epochs in a row as the last quarter has, counted from the end."""
    count = max(2, math.ceil(len(values) / 4))
    ends = range(len(values), 0, -count)
    return max(float(values[max(0, end - count) : end].mean()) for end in ends)


def _column(rows: Sequence[Mapping[str, Any]], name: str, missing: float = math.nan) -> NDArray[np.float64]:
    values = (row.get(name) for row in rows)
    return np.array([missing if value is None else value for value in values], np.float64)
