"""The sigmoid and the surrogate gradients in compiled loops; without a call to the C library they vectorise.

Their names, and the functions that they are the gradients of, are in `pipeline.config.surrogates`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from pipeline.kernels.jit import inline

RECT, TRIANGLE, SIGMOID, ATAN = range(4)
KINDS = {"Rect": RECT, "PiecewiseQuadratic": TRIANGLE, "Sigmoid": SIGMOID, "ATan": ATAN}
"""SpikingJelly's class name to the number of the surrogate in the kernels."""

# sigma(z) = 0.5 + z P(z^2) / Q(z^2) for |z| <= 16, fitted by iteratively reweighted least squares to the largest
# error 3e-9; in float32 the result is within 2e-7 of the sigmoid everywhere.
_EDGE = np.float32(16.0)
_P0, _P1, _P2 = np.float32(0.249999992), np.float32(0.00839886728), np.float32(5.56898747e-05)
_P3, _P4 = np.float32(8.50514745e-08), np.float32(1.4708705e-11)
_Q1, _Q2 = np.float32(0.116928771), np.float32(0.00163349999)
_Q3, _Q4 = np.float32(5.31120721e-06), np.float32(3.30219644e-09)
# cosh(x) of y = x^2 <= 64 to 3e-9 of it: the series' terms, which are all of one sign.
_C1, _C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1 / math.factorial(2 * k)) for k in range(1, 8))
_C8, _C9, _C10, _C11, _C12, _C13, _C14 = (np.float32(1 / math.factorial(2 * k)) for k in range(8, 15))
_FAR = np.float32(32.0)
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_PI = np.float32(np.pi)


@inline
def sigmoid(z: Any) -> Any:
    """1 / (1 + exp(-z)) in float32; NaN stays NaN."""
    # Comparisons with NaN are false, so it passes both.
    z = -_EDGE if z < -_EDGE else z
    z = _EDGE if z > _EDGE else z
    y = z * z
    p = (((_P4 * y + _P3) * y + _P2) * y + _P1) * y + _P0
    q = (((_Q4 * y + _Q3) * y + _Q2) * y + _Q1) * y + _ONE
    return _HALF + z * p / q


@inline
def sigmoid_slope(z: Any) -> Any:
    """sigma'(z) = 1 / (2 cosh(z / 2))^2 in float32, with a small relative error; 1e-14 from |z| = 32; NaN stays NaN.

    sigma (1 - sigma) only has a small absolute error: layers before a silent neuron would learn from rounding errors.
    """
    far = abs(z)
    x = (_FAR if far > _FAR else far) * np.float32(0.25)
    y = x * x
    c = ((((((_C14 * y + _C13) * y + _C12) * y + _C11) * y + _C10) * y + _C9) * y + _C8) * y + _C7
    c = ((((((c * y + _C6) * y + _C5) * y + _C4) * y + _C3) * y + _C2) * y + _C1) * y + _ONE
    # cosh(2x) = 2 cosh(x)^2 - 1.
    c = np.float32(2.0) * c * c - _ONE
    return np.float32(0.25) / (c * c)


@inline
def rect(distance: Any, alpha: Any, edge: Any) -> Any:
    """The rectangle's slope at u - v_threshold, edge being 0.5 / alpha; NaN stays NaN."""
    far = abs(distance)
    return alpha if far < edge else (_ZERO if far >= edge else far)


@njit(error_model="numpy")
def fill_row(row: Any, values: Any, first: int) -> None:
    """Fill a row with the elements of values (N,) from `first`, or with the single element of values (1,)."""
    if len(values) == 1:
        row[:] = values[0]
    else:
        row[:] = values[first : first + len(row)]


@njit(error_model="numpy", fastmath={"contract"})
def fill_slope(kind: int, alpha: Any, v_threshold: Any, u: Any, slope: Any) -> None:
    """slope[i] = ds/du at x = u[i] - v_threshold, as SpikingJelly's classes define it.

    rect: alpha where |x| < 0.5 / alpha; triangle: alpha - alpha^2 |x| where |x| <= 1 / alpha; sigmoid:
    alpha s (1 - s) with s = sigma(alpha x); atan: alpha / 2 / (1 + (pi / 2 alpha x)^2).
    """
    if kind == RECT:
        edge = _HALF / alpha
        for i in range(len(u)):
            slope[i] = rect(u[i] - v_threshold, alpha, edge)
    elif kind == TRIANGLE:
        for i in range(len(u)):
            x = alpha * abs(u[i] - v_threshold)
            slope[i] = _ZERO if x > _ONE else alpha * (_ONE - x)
    elif kind == SIGMOID:
        for i in range(len(u)):
            slope[i] = alpha * sigmoid_slope(alpha * (u[i] - v_threshold))
    else:
        for i in range(len(u)):
            x = _HALF * _PI * alpha * (u[i] - v_threshold)
            slope[i] = _HALF * alpha / (_ONE + x * x)
