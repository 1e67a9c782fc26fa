"""Neurons as plain loops in float64, forward after the papers' formulae and backward after the chain rule.

Huang et al. (ICML 2024): Eqs. 1-3 and 9 for LIF, Algorithm 1 and Appendix G for CLIF. The others are named below.
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


def ar_lif(
    x: Array, grad: Array, tau: float, v_th: float, surrogate: Surrogate, a: float, c: float
) -> tuple[Array, Array, tuple[float, float]]:
    """Spikes, the gradient of the input, each (T,), and those of a and c, of one AR-LIF neuron (arXiv 2507.20746).

    The membrane, m and the two parameters are as in the authors' code, with 1 - 1/tau for its decay of 0.5.
    """
    steps = len(x)
    u, spikes, v, m = np.zeros(steps), np.zeros(steps), np.zeros(steps + 1), np.zeros(steps + 1)
    lift = [math.tanh(a) * math.tanh(value) for value in x]
    for t in range(steps):
        u[t] = (1.0 - 1.0 / tau) * v[t] + x[t]
        spikes[t] = 1.0 if u[t] - v_th - lift[t] >= 0.0 else 0.0
        kept = sigmoid(c * x[t]) if m[t] > 0 else 1.0 - sigmoid(c * x[t])
        m[t + 1] = m[t] * kept + (sigmoid(x[t]) if spikes[t] else -sigmoid(x[t]))
        v[t + 1] = u[t] - spikes[t] * (v_th + lift[t] + sigmoid(m[t + 1]))
    grad_x = np.zeros(steps)
    dv = dm = da = dc = 0.0
    for t in reversed(range(steps)):
        rate, gain, raised, bent = sigmoid(c * x[t]), sigmoid(x[t]), sigmoid(m[t + 1]), math.tanh(x[t])
        dm -= dv * spikes[t] * raised * (1.0 - raised)
        ds = grad[t] + 2.0 * gain * dm - dv * (v_th + lift[t] + raised)
        fired = ds * surrogate(u[t] - v_th - lift[t])
        du, dlift = dv + fired, -fired - dv * spikes[t]
        drate = dm * abs(m[t])
        grad_x[t] = (
            du
            + dlift * math.tanh(a) * (1.0 - bent**2)
            + drate * c * rate * (1.0 - rate)
            + dm * (2.0 * spikes[t] - 1.0) * gain * (1.0 - gain)
        )
        da += dlift * bent * (1.0 - math.tanh(a) ** 2)
        dc += drate * x[t] * rate * (1.0 - rate)
        dm *= rate if m[t] > 0 else 1.0 - rate if m[t] < 0 else 0.0
        dv = (1.0 - 1.0 / tau) * du
    return spikes, grad_x, (da, dc)


def tc_lif(
    x: Array, grad: Array, v_th: float, surrogate: Surrogate, c: tuple[float, float], gamma: float
) -> tuple[Array, Array, tuple[float, float]]:
    """Spikes, the gradient of the input, each (T,), and those of c, of one TC-LIF neuron (arXiv 2308.13250)."""
    steps = len(x)
    u, charged, spikes = np.zeros(steps), np.zeros(steps), np.zeros(steps)
    soma, dendrite = np.zeros(steps + 1), np.zeros(steps + 1)
    down, up = sigmoid(c[0]), sigmoid(c[1])
    for t in range(steps):
        charged[t] = dendrite[t] - down * soma[t] + x[t]
        u[t] = soma[t] + up * charged[t]
        spikes[t] = 1.0 if u[t] >= v_th else 0.0
        dendrite[t + 1], soma[t + 1] = charged[t] - gamma * spikes[t], u[t] - v_th * spikes[t]
    grad_x = np.zeros(steps)
    dsoma = ddendrite = ddown = dup = 0.0
    for t in reversed(range(steps)):
        ds = grad[t] - gamma * ddendrite - v_th * dsoma
        du = dsoma + ds * surrogate(u[t] - v_th)
        dcharged = ddendrite + up * du
        grad_x[t] = dcharged
        ddown, dup = ddown - soma[t] * dcharged, dup + charged[t] * du
        dsoma, ddendrite = du - down * dcharged, dcharged
    return spikes, grad_x, (ddown * down * (1.0 - down), dup * up * (1.0 - up))


def lm_h(
    x: Array, grad: Array, v_th: float, surrogate: Surrogate, alpha: tuple[float, float], beta: tuple[float, float]
) -> tuple[Array, Array, tuple[float, ...]]:
    """Spikes, the gradient of the input, each (T,), and those of alpha and beta, of one LM-H neuron (ICLR 2024).

    The soma starts from half the threshold, and the reset passes no gradient.
    """
    steps = len(x)
    u, spikes = np.zeros(steps), np.zeros(steps)
    soma, dendrite = np.full(steps + 1, 0.5 * v_th), np.zeros(steps + 1)
    keep_d, keep_v, down, up = sigmoid(alpha[0]), sigmoid(alpha[1]), sigmoid(beta[0]), sigmoid(beta[1])
    for t in range(steps):
        dendrite[t + 1] = (keep_d - 0.5) * dendrite[t] + (down - 0.5) * soma[t] + x[t]
        u[t] = (keep_v + 0.5) * soma[t] + (up + 0.5) * dendrite[t + 1]
        spikes[t] = 1.0 if u[t] >= v_th else 0.0
        soma[t + 1] = u[t] - v_th * spikes[t]
    grad_x, grads = np.zeros(steps), np.zeros(4)
    dsoma = ddendrite = 0.0
    for t in reversed(range(steps)):
        du = dsoma + grad[t] * surrogate(u[t] - v_th)
        dcharged = ddendrite + (up + 0.5) * du
        grad_x[t] = dcharged
        grads += [dcharged * dendrite[t], du * soma[t], dcharged * soma[t], du * dendrite[t + 1]]
        dsoma, ddendrite = (keep_v + 0.5) * du + (down - 0.5) * dcharged, (keep_d - 0.5) * dcharged
    slopes = [value * (1.0 - value) for value in (keep_d, keep_v, down, up)]
    return spikes, grad_x, tuple(grads * slopes)


def sliding_psn(
    x: Array, grad: Array, surrogate: Surrogate, weight: Array, bias: float
) -> tuple[Array, Array, tuple[float, ...]]:
    """Spikes, the gradient of the input, each (T,), and those of weights and bias, of a sliding PSN (NeurIPS 2023)."""
    k = len(weight)
    padded = np.concatenate([np.zeros(k - 1), x])
    h = np.array([bias + weight @ padded[t : t + k] for t in range(len(x))])
    grad_padded, grad_weight, grad_bias = np.zeros(len(padded)), np.zeros(k), 0.0
    for t in range(len(x)):
        dh = grad[t] * surrogate(h[t])
        grad_padded[t : t + k] += dh * weight
        grad_weight += dh * padded[t : t + k]
        grad_bias += dh
    return (h >= 0.0).astype(float), grad_padded[k - 1 :], (*grad_weight, grad_bias)
