"""Whether the training of a run had ended: a rule on its learning curve, and the epoch at which it reached an accuracy.

The rule asks how much the training accuracy would still rise if the run were trained for twice as many epochs, with the
same schedule stretched to them. A run has converged if that is at most `MOST_GAIN`, which is seen in one of two ways:

- fitted: over the last quarter of the epochs, the training accuracy is at least `FITTED`. Nothing is left to gain.
- flat: the projected gain is at most `MOST_GAIN`.

The projection cannot look at the last epochs alone: a cosine schedule makes every curve flat at its end, because the
learning rate goes to 0 (the last quarter of its epochs has 2.5 % of the sum of all learning rates). So time is the sum
of the learning rates so far, s, which is 1 at the end of the run and 2 at the end of a run twice as long, and what a
falling learning rate alone brings is a term of its own:

    accuracy(epoch) = a - b phi((s - s_0) / tau) - c rate(epoch) + noise,    b, c >= 0

with phi an exponential, a power law (1 + x)^(-1/2) or a late fall exp(-x^3), and tau from 0.03 to 3 runs. Gains
b (phi(end of the run) - phi(end of twice the run)) are averaged over all of these shapes and over b = 0, each weighted
by its likelihood (Gaussian noise of unknown variance) and by its prior: one half for b = 0, the rest shared, and
1/sqrt(n) for the further parameter, as in the Bayesian information criterion (Schwarz 1978).

What the rule cannot see: a run of fewer than `FEWEST_EPOCHS` epochs is too short for a projection; a run that has
hardly learned may be on the plateau before the learning begins. Neither counts as converged. Nor does the rule know the
test accuracy, which may change after the training samples are fitted. How often the rule is wrong is measured by
`tests/test_pipeline/analysis/test_convergence.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FITTED = 0.99
MOST_GAIN = 0.015
FEWEST_EPOCHS = 12
# Less than this share of the way from chance to all training samples: the run has hardly learned.
_LEARNED = 0.25
# The fit leaves out the epochs before this share of the summed learning rates, whose shape is that of the beginning.
_FIT_FROM = 0.1
_TAUS = np.geomspace(0.03, 3.0, 16)

State = Literal["fitted", "flat", "improving", "too short", "hardly learned"]

_REASONS: Mapping[State, str] = {
    "fitted": "fits its training samples",
    "flat": "no longer improves",
    "improving": "still improving",
    "too short": f"fewer than {FEWEST_EPOCHS} epochs, and training samples not fitted",
    "hardly learned": "has hardly learned its training samples",
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
    accuracies = _column(known, "train_accuracy")
    accuracy, accuracy_change = _last_quarter(accuracies)
    _, loss_change = _last_quarter(_column(known, "train_loss"))
    chance = 1 / classes if classes else 0.0
    gain: float | None = None
    state: State
    if accuracy >= FITTED:
        state = "fitted"
    elif accuracy < chance + _LEARNED * (1 - chance):
        state = "hardly learned"
    elif half:
        gain = accuracy - _last_quarter(_column(half, "train_accuracy"))[0]
        state = "improving" if gain > MOST_GAIN else "flat"
    elif len(known) < FEWEST_EPOCHS:
        state = "too short"
    else:
        gain = projected_gain(accuracies, _column(known, "learning_rate", 1.0))
        state = "improving" if gain > MOST_GAIN else "flat"
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


def projected_gain(values: NDArray[np.float64], rates: NDArray[np.float64]) -> float:
    """How much a curve would still rise in twice as many epochs; see the module for the model.

    Args:
        values: The value of each epoch, such as the training accuracy, float64 (epochs,).
        rates: The learning rate of each epoch, float64 (epochs,), not all 0.

    Returns:
        In the unit of the values, at least 0.
    """
    # An epoch's value is measured while it is trained: in its middle.
    time = (np.cumsum(rates) - rates / 2) / rates.sum()
    kept = time >= _FIT_FROM
    y, rate, time = values[kept], rates[kept] / rates.max(), time[kept]
    ends = _shapes(np.array([1.0, 2.0]) - time[0])
    gain_of_one = ends[:, 0] - ends[:, 1]
    learned, residual, without = _fit(y - y.mean(), -_shapes(time - time[0]), -rate)
    gains = np.append(learned * gain_of_one, 0.0)
    # Residuals below the resolution of an accuracy say nothing.
    squares = np.maximum(np.append(residual, without), 1e-9)
    priors = np.append(np.full(len(learned), 1 / (len(learned) * math.sqrt(len(y)))), 1.0)
    logs = np.log(priors) - (len(y) - 2) / 2 * np.log(squares)
    weights = np.exp(logs - logs.max())
    return float((weights * gains).sum() / weights.sum())


def _fit(
    y: NDArray[np.float64], shapes: NDArray[np.float64], rate: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Least squares of y on each shape and the rate, with coefficients >= 0.

    Returns:
        The coefficient of each shape, the residual sum of squares with it, and that without any shape.
    """
    p, e = shapes - shapes.mean(1, keepdims=True), rate - rate.mean()
    pp, ee, pe, py, ey, yy = (p * p).sum(1), float(e @ e), p @ e, p @ y, float(e @ y), float(y @ y)
    without = yy - (max(ey, 0.0) ** 2 / ee if ee > 1e-12 else 0.0)
    determinant = pp * ee - pe**2
    apart = determinant > 1e-9 * pp * ee + 1e-30
    safe = np.where(apart, determinant, 1.0)
    both, of_rate = (py * ee - ey * pe) / safe, (ey * pp - py * pe) / safe
    inside = apart & (both >= 0) & (of_rate >= 0)
    alone = np.maximum(py / pp, 0.0)
    residual_alone = yy - alone * py
    # On the boundary one of the two is 0: the better one stays.
    boundary = np.where(residual_alone <= without, alone, 0.0)
    residual = np.where(inside, yy - both * py - of_rate * ey, np.minimum(residual_alone, without))
    return np.where(inside, both, boundary), residual, without


def _shapes(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every shape at these times, float64 (shapes, times): from 1 at time 0 towards 0."""
    scaled = time[None] / _TAUS[:, None]
    return np.concatenate([np.exp(-scaled), (1 + scaled) ** -0.5, np.exp(-(scaled**3))])


def _last_quarter(values: NDArray[np.float64]) -> tuple[float, float | None]:
    """The mean over the last quarter of the epochs (at least two), and minus that of the quarter before."""
    count = max(2, math.ceil(len(values) / 4))
    last = float(values[-count:].mean())
    return last, last - float(values[-2 * count : -count].mean()) if len(values) >= 2 * count else None


def _column(rows: Sequence[Mapping[str, Any]], name: str, missing: float = math.nan) -> NDArray[np.float64]:
    values = (row.get(name) for row in rows)
    return np.array([missing if value is None else value for value in values], np.float64)
