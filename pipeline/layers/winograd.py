"""3x3 convolutions of dense inputs on the CPU by Winograd's algorithm, with a quarter of the multiplications.

Tiles of 4x4 results become 36 products of matrices over the channels (`winograd_kernels`), which torch multiplies. A
block of tiles is transformed, multiplied and transformed back before the next one. Results and gradients are within
5e-6 of the norm of float64's (measured: 0.4e-6 to 2e-6); torch's convolution in float32 is within 0.3e-6. A value that
is not finite spreads over the tiles that read it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from pipeline.kernels import buffers, threads
from pipeline.kernels.tensors import pixels
from pipeline.kernels.vectors import LANES
from pipeline.layers import winograd_kernels as kernels
from pipeline.layers.winograd_kernels import POINTS, TILE

# Numbers in the values and products of a block of tiles, 16 MB. Each multiplication reads all weights, so it should
# have many tiles.
_BLOCK, _LEAST_TILES_OF_BLOCK = 1 << 22, 32
# Parts of a block that threads transform for the gradient of the weights; each has its own sum of the gradient.
_PARTS = 16
# Tiles, and products per transformed number, below which torch's convolution is faster.
_LEAST_TILES, _LEAST_PRODUCTS = 64, 18


class _Size(NamedTuple):
    images: int
    height: int
    width: int

    @property
    def tiles(self) -> int:
        return self.images * -(-self.height // TILE) * -(-self.width // TILE)

    @property
    def pixels(self) -> int:
        return self.images * self.height * self.width


def pays(shape: torch.Size, out: int) -> bool:
    """Whether Winograd's algorithm is faster than torch's convolution, forward and backward.

    Measured for 27 layers from 16 -> 16 to 512 -> 512. The transforms take time for each channel, the products for each
    pair of channels; tiles at the edges also compute results outside the image.

    Args:
        shape: Of the input, (N, Cin, H, W).
        out: Cout.
    """
    size, channels = _Size(shape[0], shape[2], shape[3]), shape[1]
    if min(channels, out) < LANES or size.tiles < _LEAST_TILES:
        return False
    useful = size.pixels / (size.tiles * TILE * TILE)
    return useful * channels * out / (channels + out) > _LEAST_PRODUCTS


def dense_conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A 3x3 convolution with a stride and a padding of 1, by Winograd's algorithm if that pays.

    Args:
        x: float32 (N, Cin, H, W) on the CPU in channels-last memory.
        weight: float32 (Cout, Cin, 3, 3).
        bias: float32 (Cout,), or None.

    Returns:
        float32 (N, Cout, H, W) in channels-last memory.
    """
    if pays(x.shape, len(weight)):
        return _Winograd.apply(x, weight, bias)
    return functional.conv2d(x, weight, bias, padding=1)


def input_gradient(grad: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The gradient of the input of such a convolution, by Winograd's algorithm if that pays.

    Args:
        grad: Gradient of the result, float32 (N, Cout, H, W) in channels-last memory.
        weight: float32 (Cout, Cin, 3, 3).
    """
    if pays(grad.shape, weight.shape[1]):
        return _convolve(grad, weight, None, flip=True)
    with torch.autocast("cpu", enabled=False):
        return functional.conv_transpose2d(grad, weight, padding=1)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias, flip=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_weight = grad_bias = None
        grad_x = input_gradient(grad, weight) if needs_x else None
        if needs_weight:
            grad_weight, grad_bias = _weight_gradient(x, grad, weight)
        elif needs_bias:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias if needs_bias else None


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, flip: bool) -> torch.Tensor:
    """The convolution of x, or with `flip` the gradient of its input from the gradient x of its result."""
    size, (outputs, inputs) = _size(x), weight.shape[:2]
    read, written = (outputs, inputs) if flip else (inputs, outputs)
    factors = buffers.aligned(POINTS * outputs * inputs)
    taps, packed = pixels(weight), factors.numpy()
    threads.for_parts(
        lambda l, r: kernels.pack_weights(taps, outputs, inputs, flip, packed, l, r), outputs, len(packed)
    )
    factors = factors.view(POINTS, outputs, inputs)
    factors = factors if flip else factors.mT
    plus = np.zeros(written, np.float32) if bias is None else bias.detach().numpy()
    blocks, block = _blocks(size.tiles, read + written)
    source, result = pixels(x), buffers.aligned(size.pixels * written)
    filled = result.numpy()

    def run(l: int, r: int) -> None:
        values, products = buffers.aligned(POINTS * block * read), buffers.aligned(POINTS * block * written)
        for first in range(l * block, min(r * block, size.tiles), block):
            count = min(block, size.tiles - first)
            kernels.tiles_of_inputs(source, (*size, read), first, count, values.numpy(), count * read)
            _multiply(_points(values, count, read), factors, _points(products, count, written))
            kernels.results(products.numpy(), count * written, plus, (*size, written), first, count, filled)

    threads.for_parts(run, blocks, size.pixels * inputs * outputs)
    return result.view(*size, written).permute(0, 3, 1, 2)


def _weight_gradient(x: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of weight and bias; blocks follow each other, so that the number of threads changes no sum."""
    size, (outputs, inputs) = _size(x), weight.shape[:2]
    blocks, block = _blocks(size.tiles, inputs + outputs)
    part = -(-block // _PARTS)
    source, given = pixels(x), pixels(grad)
    values, gradients = buffers.aligned(POINTS * block * inputs), buffers.aligned(POINTS * block * outputs)
    products = _points(buffers.aligned(POINTS * outputs * inputs), outputs, inputs)
    totals = np.zeros((blocks, _PARTS, outputs), np.float32)
    for b in range(blocks):
        start, count = b * block, min(block, size.tiles - b * block)

        def transform(l: int, r: int, start: int = start, count: int = count, total: Any = totals[b]) -> None:
            for k in range(l, r):
                first = k * part
                some = min(part, count - first)
                if some <= 0:
                    break
                to, far = values.numpy()[first * inputs :], count * inputs
                kernels.tiles_of_inputs(source, (*size, inputs), start + first, some, to, far)
                to, far = gradients.numpy()[first * outputs :], count * outputs
                kernels.tiles_of_gradients(given, (*size, outputs), start + first, some, to, far, total[k])

        def multiply(l: int, r: int, count: int = count, adds: bool = b > 0) -> None:
            left, right = _points(gradients, count, outputs).mT, _points(values, count, inputs)
            _multiply(left[l:r], right[l:r], products[l:r], adds=adds)

        threads.for_parts(transform, _PARTS, POINTS * count * (inputs + outputs))
        threads.for_parts(multiply, POINTS, POINTS * count * inputs * outputs)
    result = torch.empty_like(weight, memory_format=torch.channels_last)
    filled, summed = pixels(result), products.view(-1).numpy()
    threads.for_parts(
        lambda l, r: kernels.unpack_weights(summed, outputs, inputs, filled, l, r), outputs, products.numel()
    )
    return result, torch.from_numpy(totals.sum((0, 1)))


def _size(x: torch.Tensor) -> _Size:
    return _Size(x.shape[0], x.shape[2], x.shape[3])


def _blocks(tiles: int, numbers: int) -> tuple[int, int]:
    """The number of blocks, and of tiles in each; a tile has `numbers` values at each of its 36 points."""
    blocks = -(-tiles // max(_LEAST_TILES_OF_BLOCK, _BLOCK // (POINTS * numbers)))
    return blocks, -(-tiles // blocks)


def _points(values: torch.Tensor, count: int, channels: int) -> torch.Tensor:
    """The first numbers as matrices (36, count, channels)."""
    return values[: POINTS * count * channels].view(POINTS, count, channels)


def _multiply(left: torch.Tensor, right: torch.Tensor, result: torch.Tensor, *, adds: bool = False) -> None:
    """Products of matrices, added to the result or not. Within `for_parts`, torch uses one thread."""
    # Both settings belong to a thread.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        if adds:
            result.baddbmm_(left, right)
        else:
            torch.bmm(left, right, out=result)
