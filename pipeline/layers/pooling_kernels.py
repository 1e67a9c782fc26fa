"""Means of 2x2 pixels and their gradient, for the CPU, over memory with the channel fastest.

Float32, or bfloat16 as bits. Each output row is one pass over two input rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.bfloat16 import narrow, widen
from pipeline.kernels.jit import compile_kernel


@compile_kernel
def forward(x: Any, out: Any, l: int, r: int) -> None:
    """Means of images l <= n < r.

    Args:
        x: (N, H, W, C); an odd last row or column is left out.
        out: (N, H // 2, W // 2, C); filled.
        l: First image.
        r: Last image + 1.
    """
    quarter = np.float32(0.25)
    channels = x.shape[3]
    for n in range(l, r):
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                above, below = x[n, 2 * row], x[n, 2 * row + 1]
                a, b = above[2 * column], above[2 * column + 1]
                c, d = below[2 * column], below[2 * column + 1]
                to = out[n, row, column]
                for i in range(channels):
                    whole = (widen(a[i]) + widen(c[i])) + (widen(b[i]) + widen(d[i]))
                    to[i] = narrow(to, whole * quarter)


@compile_kernel
def backward(grad: Any, grad_x: Any, l: int, r: int) -> None:
    """The gradient of `forward` for images l <= n < r.

    Args:
        grad: Of the means, (N, H // 2, W // 2, C).
        grad_x: (N, H, W, C); filled.
        l: First image.
        r: Last image + 1.
    """
    quarter = np.float32(0.25)
    columns = grad.shape[2]
    zero = narrow(grad_x, np.float32(0.0))
    # A loop that wrote to all four pixels would have to know that they do not overlap; copies of a row are quick.
    share = np.empty(grad.shape[3], grad.dtype)
    for n in range(l, r):
        for row in range(grad.shape[1]):
            above, below = grad_x[n, 2 * row], grad_x[n, 2 * row + 1]
            for column in range(columns):
                given = grad[n, row, column]
                for i in range(len(share)):
                    share[i] = narrow(share, widen(given[i]) * quarter)
                above[2 * column, :] = share
                above[2 * column + 1, :] = share
                below[2 * column, :] = share
                below[2 * column + 1, :] = share
            above[2 * columns :] = zero
            below[2 * columns :] = zero
        grad_x[n, 2 * grad.shape[1] :] = zero
