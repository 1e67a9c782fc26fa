"""Pooling over 2x2 pixels, for sequences.

On the CPU, torch's kernel for averages of contiguous images sums pixel by pixel; adding rows, then columns, uses vector
registers: 34 ms forward and backward become 16 ms at (T, B, C, H, W) = (10, 32, 24, 34, 34). `interpolate` in backward
is no faster. If the channel is fastest in memory, our own kernels need one pass.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pipeline.kernels import buffers
from pipeline.kernels.bfloat16 import bits
from pipeline.kernels.tensors import has_fastest_channel
from pipeline.kernels.threads import for_parts
from pipeline.layers import pooling_kernels


class AveragePool(nn.Module):
    """Mean of each 2x2 block of pixels; an odd last row or column is left out, as torch.nn.AvgPool2d(2) does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to (T, B, C, H // 2, W // 2)."""
        if x.device.type == "cpu":
            known = x.dtype in (torch.float32, torch.bfloat16)
            return (_AverageOfPixels if known and has_fastest_channel(x) else _Average).apply(x)
        return functional.avg_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.shape = x.shape
        rows, columns = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
        halved = x[..., 0:rows:2, :] + x[..., 1:rows:2, :]
        return (halved[..., 0:columns:2] + halved[..., 1:columns:2]).mul_(0.25)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        rows, columns = 2 * grad.shape[-2], 2 * grad.shape[-1]
        whole = (rows, columns) == tuple(ctx.shape[-2:])
        grad_x = grad.new_empty(ctx.shape) if whole else grad.new_zeros(ctx.shape)
        share = grad * 0.25
        for row in (0, 1):
            for column in (0, 1):
                grad_x[..., row:rows:2, column:columns:2] = share
        return grad_x


def _pixels(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(2, -1)


class _AverageOfPixels(torch.autograd.Function):
    """The same for memory with the channel fastest."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.shape = steps, batch, channels, height, width = x.shape
        rows = buffers.empty_rows(steps, batch * (height // 2) * (width // 2) * channels, x.dtype)
        out = rows.view(steps * batch, height // 2, width // 2, channels)
        kernel = partial(pooling_kernels.forward, bits(_pixels(x).flatten(0, 1)), bits(out))
        for_parts(kernel, steps * batch, x.numel())
        return out.unflatten(0, (steps, batch)).movedim(-1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        steps, batch, channels, height, width = ctx.shape
        rows = buffers.empty_rows(steps, batch * height * width * channels, grad.dtype)
        grad_x = rows.view(steps * batch, height, width, channels)
        given = _pixels(grad).contiguous().flatten(0, 1)
        kernel = partial(pooling_kernels.backward, bits(given), bits(grad_x))
        for_parts(kernel, steps * batch, grad_x.numel())
        return grad_x.unflatten(0, (steps, batch)).movedim(-1, 2)


class MaxPool(nn.Module):
    """Largest of each block of pixels; the default is 2x2, where an odd last row or column is left out.

    Spikes are often equal: the gradient goes to the first of the largest, as in torch.
    """

    def __init__(self, kernel: int = 2, *, stride: int = 2, padding: int = 0) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to (T, B, C, (H + 2 padding - kernel) // stride + 1, ...)."""
        pooled = functional.max_pool2d(x.flatten(0, 1), self.kernel, self.stride, self.padding)
        out = pooled.unflatten(0, x.shape[:2])
        # torch may not recognise the memory order of a single image.
        return _pixels(out).contiguous().movedim(-1, 2) if has_fastest_channel(x) else out
