"""What the Triton kernels share: surrogates on the GPU, and the division of a launch into programs.

It is only imported for CUDA tensors.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from pipeline.kernels.surrogate_kernels import ATAN, RECT, SIGMOID, TRIANGLE

BLOCK = 256
THREADS = 128
"""Two elements per thread: few registers, so that many programs share a multiprocessor and hide memory latency."""
WARPS = THREADS // (64 if torch.version.hip else 32)

_RECT, _TRIANGLE, _SIGMOID = tl.constexpr(RECT), tl.constexpr(TRIANGLE), tl.constexpr(SIGMOID)
_QUARTER_TURN = tl.constexpr(1.5707963267948966)
assert {RECT, TRIANGLE, SIGMOID, ATAN} == set(range(4))


def grid(elements: int) -> tuple[int]:
    """Programs of a launch, one for each block of elements."""
    return (triton.cdiv(elements, BLOCK),)


@triton.jit
def logistic(z):
    """1 / (1 + exp(-z)) in float32; NaN stays NaN."""
    return 1.0 / (1.0 + tl.exp(-z))


@triton.jit
def surrogate_slope(u, v_threshold, alpha, KIND: tl.constexpr):
    """ds/du at u - v_threshold, as in `pipeline.kernels.surrogate_kernels.fill_slope`."""
    x = u - v_threshold
    if KIND == _RECT:
        # Both comparisons are false for NaN, which passes through.
        slope = tl.where(tl.abs(x) < 0.5 / alpha, alpha, tl.where(tl.abs(x) >= 0.5 / alpha, 0.0, x))
    elif KIND == _TRIANGLE:
        z = alpha * tl.abs(x)
        slope = tl.where(z > 1.0, 0.0, alpha * (1.0 - z))
    elif KIND == _SIGMOID:
        s = logistic(alpha * x)
        slope = alpha * s * (1.0 - s)
    else:
        z = _QUARTER_TURN * alpha * x
        slope = 0.5 * alpha / (1.0 + z * z)
    return slope
