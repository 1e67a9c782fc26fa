"""LIF and CLIF as plain loops in float64, forward after the papers' formulae and backward after the chain rule.

Huang et al. (ICML 2024): Eqs. 1-3 and 9 for LIF, Algorithm 1 and Appendix G for CLIF.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Surrogate = Callable[[float], float]


def sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z))


def make_surrogate(name: str, alpha: float) -> Surrogate:
    """ds/du at x = u - v_th, in SpikingJelly's words for alpha."""
    if name == "rect":
        return lambda x: alpha if abs(x) < 0.5 / alpha else 0.0
    if name == "triangle":
        return lambda x: max(0.0, alpha - alpha**2 * abs(x))
    if name == "sigmoid":
        return lambda x: alpha * sigmoid(alpha * x) * (1.0 - sigmoid(alpha * x))
    return lambda x: alpha / 2.0 / (1.0 + (math.pi / 2.0 * alpha * x) ** 2)


def lif(x: Array, grad: Array, tau: float, v_th: float, surrogate: Surrogate) -> tuple[Array, Array, Array]:
    """Spikes, potentials before firing and the gradient of the input, each (T,), of one soft-reset LIF neuron.

    Args:
        x: Input current of one neuron, (T,).
        grad: Gradient of the spikes, (T,).
        tau: Time constant.
        v_th: Threshold.
        surrogate: Of u - v_th.
    """
    steps = len(x)
    spikes, u = np.zeros(steps), np.zeros(steps)
    v = 0.0
    for t in range(steps):
        u[t] = (1.0 - 1.0 / tau) * v + x[t]
        spikes[t] = 1.0 if u[t] >= v_th else 0.0
        v = u[t] - spikes[t] * v_th
    grad_x = np.zeros(steps)
    dv = 0.0
    for t in reversed(range(steps)):
        h = surrogate(u[t] - v_th)
        du = dv + (grad[t] - dv * v_th) * h
        grad_x[t] = du
        dv = (1.0 - 1.0 / tau) * du
    return spikes, u, grad_x


def clif(x: Array, grad: Array, tau: float, v_th: float, surrogate: Surrogate) -> tuple[Array, Array, Array]:
    """As `lif`, for one CLIF neuron."""
    steps = len(x)
    spikes, u, m = np.zeros(steps), np.zeros(steps), np.zeros(steps + 1)
    v = 0.0
    for t in range(steps):
        u[t] = (1.0 - 1.0 / tau) * v + x[t]
        spikes[t] = 1.0 if u[t] >= v_th else 0.0
        m[t + 1] = m[t] * sigmoid(u[t] / tau) + spikes[t]
        v = u[t] - spikes[t] * (v_th + sigmoid(m[t + 1]))
    grad_x = np.zeros(steps)
    dv = dm = 0.0
    for t in reversed(range(steps)):
        a, b, h = sigmoid(u[t] / tau), sigmoid(m[t + 1]), surrogate(u[t] - v_th)
        dm += -dv * spikes[t] * b * (1.0 - b)
        ds = grad[t] + dm - dv * (v_th + b)
        du = dv + ds * h + dm * m[t] * a * (1.0 - a) / tau
        grad_x[t] = du
        dv, dm = (1.0 - 1.0 / tau) * du, dm * a
    return spikes, u, grad_x
