"""Loops of `winograd`: from tiles of pixels, gradients and weights to 36 values each, and back.

Winograd's algorithm F(4x4, 3x3) (Lavin and Gray, 2016) at the points 0, +-a, +-b and infinity. In one dimension, six
inputs d, three weights g and four results y satisfy y = A^T ((G g) * (B^T d)), * multiplying elements: six products
instead of twelve. Row by row, for a point t and the product N of its distances to the other points:

    B^T: the coefficients of the product of (x - s) over all other points s;  G: (1, t, t^2) / N;  A: 1, t, t^2, t^3

The gradient of the weights is G^T ((A e) * (B^T d)) for a gradient e of the four results. Arrays are flat, with the
channel fastest. 16 channels are processed at a time; the last 16 of a pixel may overlap those before, which are then
written twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.vectors import LANES, add, add_scaled, load, load_or_zeros, scale, store
from preprocess.jit import compile_kernel

TILE, POINTS = 4, 36
"""Results of a tile, by row and by column; products of a tile and a pair of channels."""

# Of points with short binary fractions these gave the smallest error: less than half of that of 1 and 2.
_A, _B = 5 / 8, 3 / 2
_P, _Q = _A * _A, _B * _B
_f = np.float32
_MINUS = _f(-1.0)
_F_A, _F_B, _F_P, _F_Q = _f(_A), _f(_B), _f(_P), _f(_Q)
_A3, _B3 = _f(_A**3), _f(_B**3)
_PQ, _MINUS_SUM = _f(_P * _Q), _f(-_P - _Q)
_MINUS_P, _MINUS_Q = _f(-_P), _f(-_Q)
# 1 / N of 0, a and b.
_N0, _NA, _NB = 1 / (_P * _Q), 1 / (2 * _P * (_P - _Q)), 1 / (2 * _Q * (_Q - _P))
_G0 = _f(_N0)
_GA0, _GA1, _GA2 = _f(_NA), _f(_A * _NA), _f(_P * _NA)
_GB0, _GB1, _GB2 = _f(_NB), _f(_B * _NB), _f(_Q * _NB)


@compile_kernel
def _six_inputs(d: Any, i: int, step: int, to: Any, j: int, far: int) -> None:
    """B^T d of six vectors, `step` elements apart from d[i:], into vectors `far` elements apart from to[j:]."""
    d0, d1, d2 = load(d, i), load(d, i + step), load(d, i + 2 * step)
    d3, d4, d5 = load(d, i + 3 * step), load(d, i + 4 * step), load(d, i + 5 * step)
    even, odd = add_scaled(d4, d2, _MINUS_Q), scale(add_scaled(d3, d1, _MINUS_Q), _F_A)
    store(to, j, add_scaled(add_scaled(d4, d2, _MINUS_SUM), d0, _PQ))
    store(to, j + far, add(even, odd))
    store(to, j + 2 * far, add_scaled(even, odd, _MINUS))
    even, odd = add_scaled(d4, d2, _MINUS_P), scale(add_scaled(d3, d1, _MINUS_P), _F_B)
    store(to, j + 3 * far, add(even, odd))
    store(to, j + 4 * far, add_scaled(even, odd, _MINUS))
    store(to, j + 5 * far, add_scaled(add_scaled(d5, d3, _MINUS_SUM), d1, _PQ))


@compile_kernel
def _four_gradients(e: Any, i: int, step: int, to: Any, j: int, far: int) -> None:
    """A e of four vectors, as `_six_inputs`."""
    e0, e1, e2, e3 = load(e, i), load(e, i + step), load(e, i + 2 * step), load(e, i + 3 * step)
    store(to, j, e0)
    even, odd = add_scaled(e0, e2, _F_P), scale(add_scaled(e1, e3, _F_P), _F_A)
    store(to, j + far, add(even, odd))
    store(to, j + 2 * far, add_scaled(even, odd, _MINUS))
    even, odd = add_scaled(e0, e2, _F_Q), scale(add_scaled(e1, e3, _F_Q), _F_B)
    store(to, j + 3 * far, add(even, odd))
    store(to, j + 4 * far, add_scaled(even, odd, _MINUS))
    store(to, j + 5 * far, e3)


@compile_kernel
def _three_weights(g: Any, i: int, step: int, to: Any, j: int, far: int) -> None:
    """G g of three vectors, as `_six_inputs`."""
    g0, g1, g2 = load(g, i), load(g, i + step), load(g, i + 2 * step)
    store(to, j, scale(g0, _G0))
    even, odd = add_scaled(scale(g0, _GA0), g2, _GA2), scale(g1, _GA1)
    store(to, j + far, add(even, odd))
    store(to, j + 2 * far, add_scaled(even, odd, _MINUS))
    even, odd = add_scaled(scale(g0, _GB0), g2, _GB2), scale(g1, _GB1)
    store(to, j + 3 * far, add(even, odd))
    store(to, j + 4 * far, add_scaled(even, odd, _MINUS))
    store(to, j + 5 * far, g2)


@compile_kernel
def _four_results(m: Any, i: int, step: int, to: Any, j: int, far: int) -> None:
    """A^T m of six vectors, as `_six_inputs`."""
    m1, m2, m3, m4 = load(m, i + step), load(m, i + 2 * step), load(m, i + 3 * step), load(m, i + 4 * step)
    sum_a, sum_b = add(m1, m2), add(m3, m4)
    apart_a, apart_b = add_scaled(m1, m2, _MINUS), add_scaled(m3, m4, _MINUS)
    store(to, j, add(load(m, i), add(sum_a, sum_b)))
    store(to, j + far, add_scaled(scale(apart_a, _F_A), apart_b, _F_B))
    store(to, j + 2 * far, add_scaled(scale(sum_a, _F_P), sum_b, _F_Q))
    store(to, j + 3 * far, add_scaled(add_scaled(load(m, i + 5 * step), apart_a, _A3), apart_b, _B3))


@compile_kernel
def _three_of_weights(m: Any, i: int, step: int, to: Any, j: int, far: int) -> None:
    """G^T m of six vectors, as `_six_inputs`."""
    m1, m2, m3, m4 = load(m, i + step), load(m, i + 2 * step), load(m, i + 3 * step), load(m, i + 4 * step)
    sum_a, sum_b = add(m1, m2), add(m3, m4)
    apart_a, apart_b = add_scaled(m1, m2, _MINUS), add_scaled(m3, m4, _MINUS)
    store(to, j, add_scaled(add_scaled(scale(load(m, i), _G0), sum_a, _GA0), sum_b, _GB0))
    store(to, j + far, add_scaled(scale(apart_a, _GA1), apart_b, _GB1))
    store(to, j + 2 * far, add_scaled(add_scaled(load(m, i + 5 * step), sum_a, _GA2), sum_b, _GB2))


@compile_kernel
def tiles_of_inputs(x: Any, size: Any, first: int, count: int, values: Any, point: int) -> None:
    """B^T d B of `count` tiles from tile `first`; pixels outside the image are zero.

    Args:
        x: float32 (images * H * W * C,).
        size: Images, H, W, C.
        first: First tile; tiles are numbered by image, row and column.
        count: Number of tiles.
        values: float32; of point p and tile k, values[p * point + k * C:]; filled.
        point: Distance of points.
    """
    _, height, width, channels = size
    rows, columns = -(-height // TILE), -(-width // TILE)
    tile = np.empty(36 * LANES, np.float32)
    work = np.empty(36 * LANES, np.float32)
    for k in range(count):
        n = (first + k) // columns
        y, left = n % rows * TILE - 1, (first + k) % columns * TILE - 1
        top = (n // rows * height + y) * width
        for c in range(0, channels, LANES):
            c = min(c, channels - LANES)
            for i in range(6):
                row_exists = 0 <= y + i < height
                for j in range(6):
                    exists = row_exists and 0 <= left + j < width
                    at = (top + i * width + left + j) * channels + c
                    store(tile, (6 * i + j) * LANES, load_or_zeros(x, at, exists))
            for j in range(6):
                _six_inputs(tile, j * LANES, 6 * LANES, work, j * LANES, 6 * LANES)
            for i in range(6):
                _six_inputs(work, 6 * i * LANES, LANES, values, 6 * i * point + k * channels + c, point)


@compile_kernel
def tiles_of_gradients(x: Any, size: Any, first: int, count: int, values: Any, point: int, total: Any) -> None:
    """A e A^T of `count` tiles of the gradient, as `tiles_of_inputs`, and the sum of the gradient.

    Args:
        x: See `tiles_of_inputs`, like the others.
        size: See x.
        first: See x.
        count: See x.
        values: See x.
        point: See x.
        total: float32 (C,), to which the gradient is added; or (0,).
    """
    _, height, width, channels = size
    rows, columns = -(-height // TILE), -(-width // TILE)
    tile = np.empty(16 * LANES, np.float32)
    work = np.empty(24 * LANES, np.float32)
    for k in range(count):
        n = (first + k) // columns
        y, left = n % rows * TILE, (first + k) % columns * TILE
        top = (n // rows * height + y) * width
        for block in range(0, channels, LANES):
            c = min(block, channels - LANES)
            for i in range(4):
                for j in range(4):
                    exists = y + i < height and left + j < width
                    at = (top + i * width + left + j) * channels + c
                    store(tile, (4 * i + j) * LANES, load_or_zeros(x, at, exists))
            for j in range(4):
                _four_gradients(tile, j * LANES, 4 * LANES, work, j * LANES, 4 * LANES)
            for i in range(6):
                _four_gradients(work, 4 * i * LANES, LANES, values, 6 * i * point + k * channels + c, point)
            if len(total):
                whole = load(tile, 0)
                for i in range(1, 16):
                    whole = add(whole, load(tile, i * LANES))
                store(work, 0, whole)
                # Of channels that overlap the vector before, only the others are added.
                for o in range(block - c, LANES):
                    total[c + o] += work[o]


@compile_kernel
def pack_weights(weight: Any, outputs: int, inputs: int, flip: bool, values: Any, l: int, r: int) -> None:
    """G g G^T of output channels l <= o < r; with the taps in reverse order for the gradient of the input.

    Args:
        weight: float32 (outputs * 9 * inputs,), with the input channel fastest.
        outputs: Cout.
        inputs: Cin.
        flip: Whether the taps are reversed.
        values: float32 (36, outputs, inputs), flat; filled.
        l: First output channel.
        r: Last output channel + 1.
    """
    taps = np.empty(9 * LANES, np.float32)
    work = np.empty(18 * LANES, np.float32)
    point = outputs * inputs
    for o in range(l, r):
        for c in range(0, inputs, LANES):
            c = min(c, inputs - LANES)
            for tap in range(9):
                source = 8 - tap if flip else tap
                store(taps, tap * LANES, load(weight, (o * 9 + source) * inputs + c))
            for j in range(3):
                _three_weights(taps, j * LANES, 3 * LANES, work, j * LANES, 3 * LANES)
            for i in range(6):
                _three_weights(work, 3 * i * LANES, LANES, values, 6 * i * point + o * inputs + c, point)


@compile_kernel
def results(products: Any, point: int, bias: Any, size: Any, first: int, count: int, y: Any) -> None:
    """A^T m A of `count` tiles from tile `first`, plus the bias.

    Args:
        products: float32; of point p and tile k, products[p * point + k * C:].
        point: Distance of points.
        bias: float32 (C,).
        size: Images, H, W, C.
        first: First tile.
        count: Number of tiles.
        y: float32 (images * H * W * C,); filled.
    """
    _, height, width, channels = size
    rows, columns = -(-height // TILE), -(-width // TILE)
    work = np.empty(24 * LANES, np.float32)
    tile = np.empty(16 * LANES, np.float32)
    for k in range(count):
        n = (first + k) // columns
        row, left = n % rows * TILE, (first + k) % columns * TILE
        top = (n // rows * height + row) * width
        for c in range(0, channels, LANES):
            c = min(c, channels - LANES)
            for i in range(6):
                _four_results(products, 6 * i * point + k * channels + c, point, work, i * 4 * LANES, LANES)
            for j in range(4):
                _four_results(work, j * LANES, 4 * LANES, tile, j * LANES, 4 * LANES)
            plus = load(bias, c)
            for i in range(min(TILE, height - row)):
                for j in range(min(TILE, width - left)):
                    found = add(load(tile, (4 * i + j) * LANES), plus)
                    store(y, (top + i * width + left + j) * channels + c, found)


@compile_kernel
def unpack_weights(products: Any, outputs: int, inputs: int, weight: Any, l: int, r: int) -> None:
    """G^T m G of output channels l <= o < r.

    Args:
        products: float32 (36, outputs, inputs), flat.
        outputs: Cout.
        inputs: Cin.
        weight: Gradient of the weights, float32 (outputs * 9 * inputs,), with the input channel fastest; filled.
        l: First output channel.
        r: Last output channel + 1.
    """
    work = np.empty(18 * LANES, np.float32)
    point = outputs * inputs
    for o in range(l, r):
        for c in range(0, inputs, LANES):
            c = min(c, inputs - LANES)
            for i in range(6):
                _three_of_weights(products, 6 * i * point + o * inputs + c, point, work, i * 3 * LANES, LANES)
            for j in range(3):
                _three_of_weights(work, j * LANES, 3 * LANES, weight, (o * 9 + j) * inputs + c, 3 * inputs)
