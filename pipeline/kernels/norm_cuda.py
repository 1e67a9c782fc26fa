"""What batch norm in front of any neuron needs on CUDA: statistics, factors and the gradient of the input, in Triton.

A sequence is contiguous, (T, B, C, H, W). Each program works on elements of one channel, so that the channel's factors
are scalars. Sums over programs have a fixed order, without atomic additions: results are the same in every run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.norm_neuron import run_length
from pipeline.kernels.tensors import is_repeated
from pipeline.kernels.triton import BLOCK, WARPS

if TYPE_CHECKING:
    from pipeline.kernels.norm_neuron import BatchNorm

ONE_WARP = BLOCK // WARPS
"""Elements of a program of one warp, as backward's are: sums over its elements need no barrier at every step."""
WIDE = 1024
"""Elements at a time in kernels without a loop over time: eight per thread."""
CHANNELS = 8
"""Channels per program of `settle_kernel`."""
_SHORTEST, _MOST_CHUNKS = 4096, 64


class Form(NamedTuple):
    """The shape of a sequence (T, B, C, H, W) as kernels take it, the first four fields as arguments of a launch."""

    steps: int
    images: int
    channels: int
    units: int
    """Pixels / unit."""
    unit: int
    """Number of neighbouring elements that are moved at once: a power of two that divides the number of pixels."""
    repeated: bool
    """Whether all steps are the first one."""

    @classmethod
    def of(cls, x: Tensor) -> Form:
        """The form of a tensor (T, B, C, H, W), with the largest unit up to 8 that divides H * W."""
        steps, images, channels, height, width = x.shape
        unit = math.gcd(height * width, 8)
        return cls(steps, images, channels, height * width // unit, unit, is_repeated(x))

    @property
    def per_channel(self) -> int:
        """Elements of a channel in a step."""
        return self.images * self.units * self.unit

    @property
    def every(self) -> int:
        """See `pipeline.kernels.norm_neuron.run_length`."""
        return run_length(self.steps)

    @property
    def runs(self) -> int:
        """Number of runs; the last one may be shorter."""
        return triton.cdiv(self.steps, self.every)

    @property
    def settings(self) -> dict[str, int | bool]:
        """What a neuron's kernels are compiled for."""
        uneven = self.steps % self.every > 0
        return {"REPEATED": self.repeated, "EVERY": self.every, "UNEVEN": uneven, "UNIT": self.unit}

    @property
    def span(self) -> int:
        """Elements of a channel that one program of the statistics reads: a chunk."""
        return max(_SHORTEST, triton.next_power_of_2(triton.cdiv(self.per_channel, _MOST_CHUNKS)))

    def grid(self, size: int) -> tuple[int, int]:
        """Programs for all elements of a step, `size` elements of a channel each."""
        return triton.cdiv(self.per_channel, size), self.channels


@triton.jit
def locate(first, channel, images, channels, pixels, SIZE: tl.constexpr):
    """Offsets within a step of a channel's elements from number `first` on, and which of them exist."""
    j = first + tl.arange(0, SIZE)
    image = (j // pixels).to(tl.int64)
    return image * (channels * pixels) + (channel * pixels + j % pixels), j < images * pixels


@triton.jit(do_not_specialize=["images", "channels", "units", "chunks"])
def moments_kernel(
    x, parts, images, channels, units, chunks, UNIT: tl.constexpr, SPAN: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """For each chunk of a channel's elements in a step: a value k near them, mean - k, and the sum of (x - mean)^2.

    `parts` is (T, 3, chunks, C). Each lane takes its first element as its origin: squares of large values would cancel.
    """
    chunk, channel, step = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    pixels = units * UNIT
    x += step.to(tl.int64) * images * (channels * pixels)
    first, count = chunk * SPAN, images * pixels
    left = tl.minimum(SPAN, count - first)
    at, inside = locate(first, channel, images, channels, pixels, SIZE)
    origin = tl.load(x + at, inside, 0.0).to(tl.float32)
    total, squares = tl.zeros([SIZE], tl.float32), tl.zeros([SIZE], tl.float32)
    for start in range(0, left, SIZE):
        at, inside = locate(first + start, channel, images, channels, pixels, SIZE)
        apart = tl.where(inside, tl.load(x + at, inside, 0.0).to(tl.float32) - origin, 0.0)
        total += apart
        squares += apart * apart
    # Chan, Golub and LeVeque (1983): means and squared deviations of the lanes combined.
    seen = tl.maximum((left - tl.arange(0, SIZE) + SIZE - 1) // SIZE, 0).to(tl.float32)
    k = tl.load(x + channel * pixels).to(tl.float32)
    of_lane = tl.where(seen > 0.0, origin - k + total / tl.maximum(seen, 1.0), 0.0)
    mean = tl.sum(of_lane * seen) / left
    squares -= total * total / tl.maximum(seen, 1.0)
    deviation = tl.sum(squares + (of_lane - mean) * (of_lane - mean) * seen)
    at_part = parts + (step.to(tl.int64) * 3 * chunks + chunk) * channels + channel
    tl.store(at_part, k)
    tl.store(at_part + chunks * channels, mean)
    tl.store(at_part + 2 * chunks * channels, deviation)


@triton.jit
def _write(table, c, inside, channels, mean, var, weight, bias, eps, gain):
    """The rows scale, shift, mean and 1 / deviation of a step's table; all arguments are float64."""
    inverse = 1.0 / tl.sqrt(var + eps)
    scale = weight * inverse * gain
    tl.store(table + c, scale.to(tl.float32), inside)
    tl.store(table + channels + c, (bias * gain - mean * scale).to(tl.float32), inside)
    tl.store(table + 2 * channels + c, mean.to(tl.float32), inside)
    tl.store(table + 3 * channels + c, inverse.to(tl.float32), inside)


@triton.jit(do_not_specialize=["steps", "channels", "chunks", "count", "momentum", "eps", "gain"])
def settle_kernel(
    parts, weight, bias, running_mean, running_var, table, steps, channels, chunks, count, momentum, eps, gain,
    TRAINS: tl.constexpr, REPEATED: tl.constexpr, JOINT: tl.constexpr, SPAN: tl.constexpr, CHUNKS: tl.constexpr,
    SIZE: tl.constexpr
):  # fmt: skip
    """Fill the table (T or 1, 4, C) of `_write`, and move the running statistics as batch norm does, step by step.

    In evaluation, the table is that of the running statistics.
    """
    c = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    inside = c < channels
    w, b = tl.load(weight + c, inside, 0.0).to(tl.float64), tl.load(bias + c, inside, 0.0).to(tl.float64)
    mean, var = tl.load(running_mean + c, inside, 0.0), tl.load(running_var + c, inside, 0.0)
    if TRAINS:
        chunk = tl.arange(0, CHUNKS)
        counted = tl.minimum(tl.maximum(count - chunk * SPAN, 0), SPAN).to(tl.float64)[:, None]
        there = (chunk < chunks)[:, None] & inside[None, :]
        at = parts + chunk[:, None] * channels + c[None, :]
        apart = chunks * channels
        of_all, squares_of_all = tl.zeros([SIZE], tl.float64), tl.zeros([SIZE], tl.float64)
        n = count.to(tl.float64)
        before = n * 0.0
        for t in range(steps):
            means = tl.load(at, there, 0.0).to(tl.float64) + tl.load(at + apart, there, 0.0).to(tl.float64)
            of_step = tl.sum(means * counted, 0) / n
            away = means - of_step[None, :]
            squares = tl.sum(tl.load(at + 2 * apart, there, 0.0).to(tl.float64) + away * away * counted, 0)
            # That of a constant channel may round to a little below zero; NaN stays.
            squares = tl.where(squares < 0.0, 0.0, squares)
            if JOINT:
                delta = of_step - of_all
                of_all += delta / (before + 1.0)
                squares_of_all += squares + delta * delta * (n * before / (before + 1.0))
                before += 1.0
            else:
                _write(table + t * 4 * channels, c, inside, channels, of_step, squares / n, w, b, eps, gain)
                mean += momentum * (of_step.to(tl.float32) - mean)
                var += momentum * ((squares / (n - 1.0)).to(tl.float32) - var)
            if not REPEATED:
                at += 3 * apart
        if JOINT:
            n = n * steps
            _write(table, c, inside, channels, of_all, squares_of_all / n, w, b, eps, gain)
            mean += momentum * (of_all.to(tl.float32) - mean)
            var += momentum * ((squares_of_all / (n - 1.0)).to(tl.float32) - var)
        tl.store(running_mean + c, mean, inside)
        tl.store(running_var + c, var, inside)
    else:
        _write(table, c, inside, channels, mean.to(tl.float64), var.to(tl.float64), w, b, eps, gain)


@triton.jit(do_not_specialize=["images", "channels", "units", "values"])
def finish_kernel(
    grad, x, table, sums, images, channels, units, values,
    REPEATED: tl.constexpr, JOINT: tl.constexpr, UNIT: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """Turn the gradient of the normalised input, (T, N), into that of the input, in place.

    With xhat = (x - mean) / deviation, the gradient g becomes scale * (g - mean(g) - xhat * mean(g * xhat)). `sums`
    (T or 1, 2, C) holds the sums of g and of g * xhat, each over `values` elements.
    """
    channel, step = tl.program_id(1), tl.program_id(2)
    pixels = units * UNIT
    at, inside = locate(tl.program_id(0) * SIZE, channel, images, channels, pixels, SIZE)
    ahead = step.to(tl.int64) * images * (channels * pixels)
    grad += ahead
    if not REPEATED:
        x += ahead
    if not JOINT:
        table += step * 4 * channels
        sums += step * 2 * channels
    scale, mean = tl.load(table + channel), tl.load(table + 2 * channels + channel)
    inverse = tl.load(table + 3 * channels + channel)
    of_grad, of_product = tl.load(sums + channel) / values, tl.load(sums + channels + channel) / values
    xhat = (tl.load(x + at, inside, 0.0).to(tl.float32) - mean) * inverse
    g = tl.load(grad + at, inside, 0.0).to(tl.float32)
    tl.store(grad + at, (scale * (g - of_grad - xhat * of_product)).to(grad.dtype.element_ty), inside)


def make_table(x: Tensor, form: Form, norm: BatchNorm, gain: float) -> Tensor:
    """Batch norm of x as scale, shift, mean and 1 / deviation, float32 (T or 1, 4, C); the first two include the gain.

    In training the running statistics are updated; in evaluation they are used. Nothing waits for the device.
    """
    trains, joint = norm.training, norm.mode == "joint" or not norm.training
    steps, _, channels, *_ = form
    table = x.new_empty(1 if joint else steps, 4, channels, dtype=torch.float32)
    chunks = triton.cdiv(form.per_channel, form.span)
    with torch.cuda.device_of(x):
        parts = table
        if trains:
            read = 1 if form.repeated else steps
            parts = table.new_empty(read, 3, chunks, channels)
            moments_kernel[chunks, channels, read](
                x, parts, form.images, channels, form.units, chunks,
                UNIT=form.unit, SPAN=form.span, SIZE=WIDE, num_warps=WARPS,
            )  # fmt: skip
        settle_kernel[(triton.cdiv(channels, CHANNELS),)](
            parts, norm.weight, norm.bias, norm.running_mean, norm.running_var, table, steps, channels, chunks,
            form.per_channel, norm.momentum, norm.eps, gain, TRAINS=trains, REPEATED=form.repeated, JOINT=joint,
            SPAN=form.span, CHUNKS=triton.next_power_of_2(chunks), SIZE=CHANNELS, num_warps=WARPS,
        )  # fmt: skip
    return table


def finish(grad: Tensor, x: Tensor, form: Form, table: Tensor, sums: Tensor) -> None:
    """The gradient of x in place of that of the normalised x, by its sums (T or 1, 2, C); see `finish_kernel`."""
    values = form.per_channel * (form.steps if len(table) == 1 else 1)
    size = min(WIDE, max(128, triton.next_power_of_2(form.per_channel)))
    with torch.cuda.device_of(x):
        finish_kernel[*form.grid(size), form.steps](
            grad, x, table, sums, form.images, form.channels, form.units, values,
            REPEATED=form.repeated, JOINT=len(table) == 1, UNIT=form.unit, SIZE=size, num_warps=WARPS,
        )  # fmt: skip
