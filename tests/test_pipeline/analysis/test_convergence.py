"""The convergence rule: how often it is wrong, on simulated learning curves and on those of real runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.analysis.convergence import FEWEST_EPOCHS, assess_convergence

CURVES = Path(__file__).parents[2] / "golden" / "learning-curves.json"
SIMULATED = 4000
# What twice as many epochs bring, in training accuracy: more than this is unconverged, less than that is converged.
UNCONVERGED, CONVERGED = 0.02, 0.005


@dataclass(frozen=True)
class Simulated:
    """A simulated learning curve, and how much twice as many epochs would really bring."""

    rows: list[dict[str, Any]]
    classes: int
    gain: float
    fitted: bool


def learning_rates(rng: np.random.Generator, epochs: int) -> NDArray[np.float64]:
    place = np.arange(epochs) / epochs
    kind = rng.choice(["constant", "cosine", "step"])
    if kind == "constant":
        return np.ones(epochs)
    steps = np.select([place < 0.5, place < 0.75], [1, 0.1], 0.01)
    return (1 + np.cos(np.pi * place)) / 2 if kind == "cosine" else steps


def simulate(rng: np.random.Generator) -> Simulated:
    """Accuracy rises with the summed learning rate: exponentially, by a power law, or late, from a plateau at chance.

    A high learning rate costs up to 8 % of it; noise is that of counting samples and that of optimisation.
    """
    epochs = int(rng.choice([8, 12, 16, 24, 32, 64, 100]))
    rates = learning_rates(rng, epochs)
    whole = rates.sum()
    classes, samples = int(rng.choice([5, 10, 100])), int(rng.choice([200, 900, 2000, 10_000]))
    limit = rng.choice([1.0, 1.0, rng.uniform(0.5, 0.97)])
    duration = whole * np.exp(rng.uniform(np.log(0.02), np.log(2)))
    kind, power, width = rng.integers(3), rng.uniform(0.5, 1.5), duration * rng.uniform(0.1, 0.4)

    def learned(time: NDArray[np.float64]) -> NDArray[np.float64]:
        if kind == 0:
            return 1 - np.exp(-time / duration)
        if kind == 1:
            return 1 - (1 + time / duration) ** -power
        start = 1 / (1 + np.exp(duration / width))
        return (1 / (1 + np.exp(-(time - duration) / width)) - start) / (1 - start)

    share = learned(np.cumsum(rates) - rates / 2) * (1 - rng.choice([0, rng.uniform(0, 0.08)]) * rates / rates.max())
    noise = rng.choice([0, 0.003, 0.01]) * np.sqrt(rates / rates.max()) * rng.standard_normal(epochs)
    mean = np.clip(1 / classes + (limit - 1 / classes) * share + noise, 0, 1)
    accuracy, loss = rng.binomial(samples, mean) / samples, 2 - 2 * mean + rng.normal(0, 0.5 / samples**0.5, epochs)
    end, twice = learned(np.array([whole, 2 * whole]))
    rows = [
        {"epoch": k + 1, "train_accuracy": value, "train_loss": lost, "learning_rate": rate}
        for k, (value, lost, rate) in enumerate(zip(accuracy.tolist(), loss.tolist(), rates.tolist(), strict=True))
    ]
    return Simulated(rows, classes, float((limit - 1 / classes) * (twice - end)), accuracy[-2:].min() >= 0.99)


@pytest.fixture(scope="module")
def simulated() -> list[Simulated]:
    rng = np.random.default_rng(11)
    return [simulate(rng) for _ in range(SIMULATED)]


def flagged(curve: Simulated) -> bool:
    found = assess_convergence(curve.rows, classes=curve.classes)
    assert found is not None
    return not found.converged


def test_simulated_unconverged_runs_are_flagged(simulated: list[Simulated]):
    found = [flagged(curve) for curve in simulated if curve.gain > UNCONVERGED]
    print(f"simulated unconverged runs flagged: {np.mean(found):.3f} of {len(found)}")
    assert len(found) > 1000 and np.mean(found) >= 0.95
    # Not by being short alone.
    long = [flagged(c) for c in simulated if c.gain > UNCONVERGED and len(c.rows) >= FEWEST_EPOCHS]
    print(f"of {FEWEST_EPOCHS} epochs or more: {np.mean(long):.3f} of {len(long)}")
    assert np.mean(long) >= 0.95


def test_simulated_converged_runs_are_rarely_flagged(simulated: list[Simulated]):
    # Short runs that do not fit their samples are flagged on purpose: nothing shows that they are at their limit.
    converged = [curve for curve in simulated if curve.gain < CONVERGED]
    seen = [curve for curve in converged if len(curve.rows) >= FEWEST_EPOCHS or curve.fitted]
    found = [flagged(curve) for curve in seen]
    flat = [flagged(curve) for curve in seen if not curve.fitted]
    print(f"simulated converged runs flagged: {np.mean(found):.3f} of {len(found)}")
    print(f"of those below 100 %: {np.mean(flat):.3f} of {len(flat)}")
    assert len(found) > 1000 and np.mean(found) <= 0.05
    assert len(flat) > 300 and np.mean(flat) <= 0.05
