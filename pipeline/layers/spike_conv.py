"""3x3 convolutions of spikes on the CPU, which add rows of weights instead of multiplying by zeros.

Spikes are inputs with few nonzero elements, all of the same value. Other inputs, such as averages of spikes, and the
gradients of inputs, which are dense, go to `pipeline.layers.winograd`, and what neither is faster for goes to torch:
`convolve` replaces the call of an `nn.Conv2d`. With 10 % spikes and at least 64 channels, forward and the gradient of
the weights are 4 to 6 times as fast as torch's (table: docs/internals/neurons.md).
"""

from __future__ import annotations

import math
import platform
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from pipeline.kernels import buffers, threads
from pipeline.kernels.tensors import pixels as pixels_of
from pipeline.layers import spike_conv_gradient as gradient
from pipeline.layers import spike_conv_kernels as kernels
from pipeline.layers.spike_conv_kernels import LANES, ROOM, TAPS, WIDTH, WORD
from pipeline.layers.winograd import dense_conv2d, input_gradient, pays

# Words of input channels whose weights for 32 output channels, 72 KB, are between the first- and second-level caches.
_CHUNK_WORDS = 4
# Pixels whose sums for 32 output channels, 64 KB, fit in the second-level cache.
_GROUP = 512
# Positions in a copy of the gradient for 16 output channels, 25 KB, which fits in the first-level cache.
_PLACES = 400
# Pixels that are processed in one pass over the gradient of the weights.
_PASS = 2048
# Products of Cin and Cout, and numbers of pixels, below which torch's convolution is faster.
_LEAST_CHANNELS, _LEAST_PIXELS = 512, 256
# List entries are 16 bits wide.
_MOST_CHANNELS, _MOST_COLUMNS = 4096, 2048

_Size = tuple[int, int, int, int, int]


def convolve(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """The result of ``conv(x)``, through `spike_conv2d` where it can be used.

    Args:
        conv: Any convolution; `spike_conv2d` applies to 3x3 with a stride and a padding of 1.
        x: (N, Cin, H, W); `spike_conv2d` applies to channels-last memory.
    """
    if find_obstacle(conv, x) is not None:
        return conv(x)
    for observe in conv._forward_pre_hooks.values():
        observe(conv, (x,))
    if torch.is_autocast_enabled("cpu"):
        # Sums in float32, of weights that are not rounded, in the dtype that autocast gives.
        with torch.autocast("cpu", enabled=False):
            return spike_conv2d(x.float(), conv.weight, conv.bias).to(torch.bfloat16)
    return spike_conv2d(x, conv.weight, conv.bias)


def find_obstacle(conv: nn.Conv2d, x: torch.Tensor) -> str | None:
    """Why `spike_conv2d` cannot replace ``conv(x)``, or None if it can."""
    # To compile or transform, torch needs its own operators.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active():
        return "torch compiles, traces or transforms the call"
    changing = [hook for hook in conv._forward_pre_hooks.values() if not getattr(hook, "only_observes", False)]
    hooks = (conv._forward_hooks, changing, conv._backward_hooks, conv._backward_pre_hooks)
    if type(conv) is not nn.Conv2d or any(hooks):
        return "expected a plain nn.Conv2d without hooks, except forward pre-hooks that are marked as only_observes"
    shape = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    if shape != ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros"):
        return f"expected a 3x3 convolution with a stride and a padding of 1, found {conv}"
    if torch.is_autocast_enabled("cpu") and not _replaces_bfloat16(x, conv.weight):
        return "autocast computes convolutions in lower precision, which is faster"
    return _find_obstacle_of(x, conv.weight)


def _replaces_bfloat16(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether skipping zeros, or Winograd's algorithm, is faster in float32 than torch's convolution in bfloat16."""
    if torch.get_autocast_dtype("cpu") != torch.bfloat16 or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    return multiplies_bfloat16_slowly() and x.dim() == 4 and pays(x.shape, len(weight))


@cache
def multiplies_bfloat16_slowly() -> bool:
    """Whether bfloat16 is multiplied at most twice as fast as float32: on x86 without matrix extensions (AMX)."""
    return platform.machine().lower() in ("x86_64", "amd64") and not torch.cpu._is_amx_tile_supported()


def _find_obstacle_of(x: torch.Tensor, weight: torch.Tensor) -> str | None:
    known = (torch.float32, torch.bfloat16) if torch.is_autocast_enabled("cpu") else (torch.float32,)
    if x.device.type != "cpu" or x.dtype not in known or weight.dtype != torch.float32:
        return f"expected float32 on the CPU, found {x.dtype} and {weight.dtype} on {x.device}"
    if x.dim() != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        return f"expected (N, C, H, W) in channels-last memory, found {tuple(x.shape)} with strides {x.stride()}"
    if x.shape[1] != weight.shape[1] or x.shape[1] > _MOST_CHANNELS or x.shape[3] > _MOST_COLUMNS:
        return f"expected {weight.shape[1]} channels, at most {_MOST_CHANNELS}, found {tuple(x.shape)}"
    return None


def paying_density(pixels: int, channels: int, out: int) -> float:
    """The fraction of nonzero inputs up to which sums of rows are faster than torch's convolution.

    Measured for 21 layers from 2 -> 64 to 512 -> 512: if Cin * Cout is at least 1024, both are equally fast above 0.4;
    at 512, between 0.3 and 0.4; below 512, torch is faster even without spikes. Each call rearranges the weights, which
    takes too long for few pixels.

    Args:
        pixels: N * H * W.
        channels: Cin.
        out: Cout.
    """
    if pixels < _LEAST_PIXELS or min(channels, out) < LANES or channels * out < _LEAST_CHANNELS:
        return 0.0
    return 0.4 if channels * out >= 2 * _LEAST_CHANNELS else 0.25


def spike_conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A 3x3 convolution with a stride and a padding of 1; results are those of torch except for rounding.

    Args:
        x: float32 (N, Cin, H, W) in channels-last memory. It is passed to `dense_conv2d` unless all nonzero elements
            have the same value and their fraction is below `paying_density`.
        weight: float32 (Cout, Cin, 3, 3).
        bias: float32 (Cout,), or None.

    Returns:
        float32 (N, Cout, H, W) in channels-last memory.
    """
    if torch.is_autocast_enabled("cpu") or _find_obstacle_of(x, weight) or not x.numel():
        return functional.conv2d(x, weight, bias, padding=1)
    found = find_spikes(x.detach(), weight.shape[0])
    if found is None:
        return dense_conv2d(x, weight, bias)
    return _SpikeConv.apply(x, weight, bias, *found)


def find_spikes(x: torch.Tensor, out: int) -> tuple[torch.Tensor, float] | None:
    """Where the spikes of (N, Cin, H, W) in channels-last memory are, and their value.

    Returns:
        A bit for each element, uint16 (N * H * W, ceil(Cin / 16)), and the value, 0 if there are none; None if
        nonzero elements differ or are too many for `out` output channels.
    """
    images, channels, height, width = x.shape
    pixels = images * height * width
    most = int(paying_density(pixels, channels, out) * x.numel())
    if not most:
        return None
    words = buffers.empty_rows(pixels, -(-channels // WORD), torch.uint16)
    flat, filled = pixels_of(x), words.numpy().reshape(-1)
    results: list[tuple[float, bool, int]] = []
    threads.for_ranges(lambda l, r: results.append(kernels.scan(flat, channels, filled, most, l, r)), pixels, channels)
    values = {float(value) for value, _, count in results if count}
    same_value = all(uniform for _, uniform, _ in results) and len(values) <= 1
    if not same_value or sum(count for _, _, count in results) > most or not all(math.isfinite(v) for v in values):
        return None
    return words, values.pop() if values else 0.0


class _SpikeConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        words: torch.Tensor,
        value: float,
    ) -> torch.Tensor:
        # The input is not kept: one bit per element is enough.
        ctx.save_for_backward(weight, words)
        ctx.value, ctx.size = value, _size(x, weight)
        return _forward(words, value, ctx.size, weight.detach(), bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, words = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = grad_bias = None
        if needs_x:
            grad_x = input_gradient(grad, weight)
        if needs_weight:
            grad_weight, grad_bias = _weight_gradient(words, ctx.value, ctx.size, grad, weight)
        elif needs_bias:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias if needs_bias else None, None, None


def _forward(
    words: torch.Tensor, value: float, size: _Size, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    images, height, width, channels, out = size
    a_pixel = words.shape[1]
    chunks = -(-a_pixel // _CHUNK_WORDS)
    chunk_words = -(-a_pixel // chunks)
    wide = chunk_words * WORD
    blocks = -(-out // WIDTH)
    # The same number of groups for each thread. The sum of a pixel does not depend on its group.
    groups = -(-images * height * width // (_GROUP * torch.get_num_threads())) * torch.get_num_threads()
    rows = -(-images * height // groups)

    weight, strides = _strided(weight)
    memory = _memory(weight)
    packed = buffers.aligned(blocks * chunks * (TAPS * wide + 1) * WIDTH).numpy()
    threads.for_parts(
        lambda l, r: kernels.pack_weights(memory, strides, channels, out, chunk_words, chunks, packed, l, r),
        blocks * chunks,
        len(packed),
    )
    full_bias = np.zeros(blocks * WIDTH, np.float32)
    if bias is not None:
        full_bias[:out] = bias.detach().numpy()
    bits = words.numpy().reshape(-1)
    result = buffers.aligned(images * height * width * out)
    filled = result.numpy()

    def run(l: int, r: int) -> None:
        cells = _scratch((rows + 2) * width * wide + ROOM, torch.uint16)
        ends = _scratch((rows + 2) * width + 1, torch.int32)
        lists = _scratch(rows * width * chunks * (TAPS * wide + 4) + ROOM, torch.uint16)
        starts = _scratch(chunks * rows * width + 1, torch.int32)
        sums = buffers.aligned(rows * width * WIDTH).numpy()
        kernels.forward(
            bits,
            kernels.PLACES,
            size,
            chunk_words,
            packed,
            np.float32(value),
            full_bias,
            filled,
            rows,
            cells,
            ends,
            lists,
            starts,
            sums,
            l,
            r,
        )

    threads.for_parts(run, -(-images * height // rows), images * height * width * channels * out)
    return result.view(images, height, width, out).permute(0, 3, 1, 2)


def _weight_gradient(
    words: torch.Tensor, value: float, size: _Size, grad: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    images, height, width, channels, out = size
    blocks = -(-out // LANES)
    # Rows of a band, or its number of images if one image is not enough.
    rows = max(1, _PLACES // (width + 1) - 2)
    rows = -(-height // -(-height // rows)) if rows < height else height
    each = max(1, (_PLACES // (width + 1) - 1) // (height + 1)) if rows == height else 1
    each = min(each, images)
    pixels = each * rows * width
    bands = max(1, _PASS // pixels)
    place_count = ((rows + 1) * each + 1) * (width + 1) + 1

    result, strides = _strided(torch.empty_like(weight))
    filled, flat, bits = _memory(result), pixels_of(grad), words.numpy().reshape(-1)
    packed = buffers.aligned(blocks * channels * TAPS * LANES).numpy()
    bias = np.zeros(blocks * LANES, np.float32)

    def run(l: int, r: int) -> None:
        wide = (-(-r // WORD) - l // WORD) * WORD
        gradient.weight_gradient(
            bits,
            kernels.PLACES,
            size,
            (each, rows, bands),
            flat,
            np.float32(value),
            strides,
            packed,
            _scratch(pixels * wide + ROOM, torch.uint16),
            _scratch(pixels + 1, torch.int32),
            _scratch(bands * pixels * wide, torch.uint16),
            _scratch(bands * (wide + 1), torch.int32),
            buffers.aligned(place_count * LANES).numpy(),
            filled,
            bias,
            l,
            r,
        )

    threads.for_parts(run, channels, images * height * width * channels * out)
    return result, torch.from_numpy(bias[:out])


def _size(x: torch.Tensor, weight: torch.Tensor) -> _Size:
    images, channels, height, width = x.shape
    return images, height, width, channels, weight.shape[0]


def _strided(weight: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """A weight whose memory is dense, and its strides over outputs, inputs and taps."""
    for layout in (torch.contiguous_format, torch.channels_last):
        if weight.is_contiguous(memory_format=layout):
            inputs = weight.shape[1]
            return weight, (9 * inputs, 9, 1) if layout is torch.contiguous_format else (9 * inputs, 1, inputs)
    return _strided(weight.contiguous())


def _memory(weight: torch.Tensor) -> NDArray[np.float32]:
    return weight.detach().as_strided((weight.numel(),), (1,)).numpy()


def _scratch(elements: int, dtype: torch.dtype) -> NDArray[Any]:
    return buffers.empty_rows(1, elements, dtype).numpy().reshape(-1)
