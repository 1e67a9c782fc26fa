"""Batch norm and the neuron behind it as one function of autograd, on the CPU, over memory with the channel fastest.

Unfused, batch norm reads its input twice and writes an output that the neuron reads; both keep a sequence for backward.
Here the input is read once for the statistics and once by the neuron, and only the input is kept. On CUDA,
`pipeline.kernels.norm_neuron_cuda` does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules import module as nn_module

from pipeline.kernels import buffers, norm_cpu
from pipeline.kernels.bfloat16 import bits
from pipeline.kernels.fused_function import is_transformed, once
from pipeline.kernels.norm_cpu import Partition
from pipeline.kernels.tensors import is_repeated
from pipeline.kernels.threads import for_parts

if TYPE_CHECKING:
    from torch import nn

_float = np.float32
_Array = NDArray[Any]
_DTYPES = (torch.float32, torch.bfloat16)
_CUDA_DTYPES = (*_DTYPES, torch.float16)
# Programs of a launch along each but the first axis.
_MOST_PROGRAMS = 65535
# Values that are not finite stay so, as in torch, without warnings.
_quietly = np.errstate(over="ignore", invalid="ignore")


class BatchNorm(Protocol):
    """The attributes of `pipeline.layers.batch_norm.SequenceBatchNorm`, in a higher layer, that are used here."""

    @property
    def mode(self) -> str:
        """``per-step`` or ``joint``."""

    training: bool
    momentum: float | None
    eps: float
    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None


class Affine(NamedTuple):
    """Batch norm as x * scale + shift; all of shape (T, C), or (1, C) for all steps."""

    mean: _Array
    inverse: _Array
    """1 / standard deviation, float64."""
    scale: _Array
    """Includes the neuron's gain, as does shift."""
    shift: _Array


class Outputs(NamedTuple):
    """The neuron's results, or the gradients of them."""

    spikes: _Array
    """(T, N)."""
    states: list[_Array]
    """The states after the last step, (N,), or (1,) where all elements are equal."""


class InputGradients(NamedTuple):
    """What a backward kernel fills."""

    x: _Array
    """The gradient of the normalised input, (T, N)."""
    states: list[_Array]
    """The gradients of the states before the first step, (N,), or (0,) where none is needed."""
    sums: _Array
    """Sums of the gradient of x, and of its product with x - mean, float64 (chunks, T, 2, C)."""


class Steps(Protocol):
    """A neuron's two kernels with its settings; `pipeline.neurons.clif.cpu_with_norm_kernels` describes the arrays."""

    @property
    def gain(self) -> float:
        """The factor by which the neuron multiplies its input."""

    def forward(self, x: _Array, states: list[_Array], norm: Affine, filled: Outputs) -> Callable[..., None]:
        """The kernel, which is then called with length, l and r."""

    def backward(
        self, grads: Outputs, x: _Array, states: list[_Array], norm: Affine, filled: InputGradients
    ) -> Callable[..., None]:
        """The kernel, which is then called with length, blocks, l and r."""

    @property
    def cuda_kernels(self) -> ModuleType:
        """The neuron's `cuda_with_norm_kernels`, loaded on first use."""


def run_length(steps: int) -> int:
    """Steps of a run: on CUDA, forward saves states before each run, and backward computes one run at a time again.

    Four or so fit in the registers of a thread. Runs of equal length need no masks.
    """
    return next((length for length in (4, 5, 3) if steps % length == 0), min(steps, 4))


def can_fuse(neuron: nn.Module, norm: BatchNorm, x: Tensor) -> bool:
    """Whether ``neuron(x, norm=norm)`` may replace ``neuron(norm(x))``; x is (T, B, C, H, W).

    It may not where hooks would see the normalised input, inside torch.compile, or inside transforms of torch.func;
    nor with a norm of another class, such as nn.SyncBatchNorm.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed():
        return False
    if not getattr(neuron, "takes_norm", False) or not hasattr(norm, "mode"):
        return False
    if x.dim() != 5 or not (_fits_cuda(x) if x.is_cuda else _fits_cpu(x)):
        return False
    if _hooked(norm) or neuron._forward_pre_hooks or norm.momentum is None:
        return False
    values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if not all(value is not None and value.dtype == torch.float32 for value in values):
        return False
    if not norm.training:
        # The gradient through fixed statistics is a different one.
        return x.numel() > 0 and not torch.is_grad_enabled()
    # Batches that batch norm refuses are left to it.
    return x.numel() // x.shape[2] > (x.shape[0] if norm.mode == "per-step" else 1)


def _fits_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in _DTYPES and 0 < x.shape[2] <= norm_cpu.LONGEST


def _fits_cuda(x: Tensor) -> bool:
    steps, images, channels, height, width = x.shape
    # The kernels count the elements of a channel, and those of an image, in 32 bits.
    counts = max(images, channels) * height * width < 1 << 30
    programs = 0 < channels <= _MOST_PROGRAMS and steps <= _MOST_PROGRAMS
    return counts and programs and x.dtype in _CUDA_DTYPES and find_spec("triton") is not None


def _hooked(module: Any) -> bool:
    """Whether anything asks to be called before or after this module, or all modules."""
    kinds = ("forward", "forward_pre", "backward", "backward_pre")
    return any(getattr(module, f"_{kind}_hooks") or getattr(nn_module, f"_global_{kind}_hooks") for kind in kinds)


def run(x: Tensor, norm: BatchNorm, states: tuple[Tensor, ...], steps: Steps) -> tuple[Tensor, ...]:
    """Spikes (T, B, C, H, W) of x before batch norm, and the new states (B, C, H, W); differentiable once.

    The running statistics are updated as batch norm updates them. On the CPU, results have the channel fastest in
    memory.
    """
    if x.is_cuda:
        from pipeline.kernels import norm_neuron_cuda

        return norm_neuron_cuda.run(x, norm, states, steps)
    if norm.training:
        return _NormNeuron.apply(x, norm.weight, norm.bias, norm, steps, *states)
    assert norm.running_mean is not None and norm.running_var is not None
    mean, var = (value.numpy().astype(np.float64)[None] for value in (norm.running_mean, norm.running_var))
    return _forward(x, _affine(norm, mean, var, steps.gain), states, steps)


@_quietly
def _affine(norm: BatchNorm, mean: _Array, var: _Array, gain: float) -> Affine:
    weight, bias = (value.detach().numpy().astype(np.float64) for value in (norm.weight, norm.bias))
    inverse = 1.0 / np.sqrt(var + norm.eps)
    scale = weight * inverse * gain
    shift = bias * gain - mean * scale
    return Affine(mean.astype(_float), inverse, scale.astype(_float), shift.astype(_float))


def _rows(x: Tensor) -> _Array:
    return bits(x.detach().permute(0, 1, 3, 4, 2).contiguous().view(len(x), -1))


def _row(state: Tensor) -> _Array:
    state = state.detach()
    if not any(state.stride()):
        state = state.as_strided((1,), (1,))
    elif state.dim() == 4:
        state = state.permute(0, 2, 3, 1)
    return state.to(torch.float32).contiguous().view(-1).numpy()


def _unrolled(rows: Tensor, shape: torch.Size) -> Tensor:
    """Rows (T, N) as (T, B, C, H, W), or the row of a state as (B, C, H, W)."""
    *ahead, channels, height, width = shape
    return rows.view(*ahead, height, width, channels).movedim(-1, -3)


def _result(rows: Tensor, like: Tensor) -> Tensor:
    # Not a view: torch refuses to detach one in place, or to change one in place that a function returns.
    return _unrolled(rows, like.shape).to(like.dtype).detach()


def _cut(x: Tensor) -> Partition:
    return norm_cpu.partition(x[0].numel(), x.shape[2], len(x))


def _forward(x: Tensor, affine: Affine, states: tuple[Tensor, ...], steps: Steps) -> tuple[Tensor, ...]:
    elements, cut = x[0].numel(), _cut(x)
    spikes = buffers.empty_rows(len(x), elements, x.dtype)
    after = [buffers.empty_rows(1, elements, state.dtype if state.dtype in _DTYPES else x.dtype) for state in states]
    kernel = steps.forward(
        _rows(x),
        [_row(state) for state in states],
        affine,
        Outputs(bits(spikes), [bits(row[0]) for row in after]),
    )
    for_parts(partial(kernel, cut.length), -(-elements // cut.length), x.numel())
    return _result(spikes, x), *(_result(row, state) for row, state in zip(after, states, strict=True))


@_quietly
def _statistics(x: Tensor, joint: bool) -> tuple[_Array, _Array, int]:
    """Mean and biased variance of each channel, float64 (T, C) or (1, C), and the number of values in each."""
    if is_repeated(x):
        # Computed once: all steps have the same, and so have they jointly.
        mean, var, count = _statistics(x[:1], joint)
        return (mean, var, count * len(x)) if joint else (mean.repeat(len(x), 0), var.repeat(len(x), 0), count)
    cut, channels = _cut(x), x.shape[2]
    start = np.empty((cut.chunks, len(x), channels), _float)
    sums = np.empty((cut.chunks, len(x), 2, channels))
    kernel = partial(norm_cpu.moments, _rows(x), cut.length, cut.blocks, start, sums)
    for_parts(kernel, cut.chunks, x.numel())
    # Chan, Golub and LeVeque (1983): combines the means and squared deviations of parts.
    pixels, whole = x[0].numel() // channels, cut.length // channels * cut.blocks
    counts = np.full((cut.chunks, 1, 1), float(whole))
    counts[-1] = pixels - whole * (cut.chunks - 1)
    over = (0, 1) if joint else (0,)
    means = start + sums[:, :, 0] / counts
    squares = sums[:, :, 1] - sums[:, :, 0] ** 2 / counts
    count = pixels * (len(x) if joint else 1)
    mean = (means * counts).sum(over, keepdims=True)[0] / count
    var = (squares + (means - mean) ** 2 * counts).sum(over, keepdims=True)[0] / count
    # The variance of a constant channel may round to a little below zero; NaN stays.
    return mean, np.maximum(var, 0.0), count


@_quietly
@torch.no_grad()
def _follow(norm: BatchNorm, mean: _Array, var: _Array, count: int) -> None:
    """Update the running statistics as batch norm does, once for each row."""
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    assert norm.running_mean is not None and norm.running_var is not None
    norm.num_batches_tracked.add_(len(mean))
    for running, found in ((norm.running_mean, mean), (norm.running_var, var * (count / (count - 1)))):
        for row in torch.from_numpy(found.astype(_float)):
            running.mul_(1.0 - norm.momentum).add_(row, alpha=norm.momentum)


@_quietly
def _factors(affine: Affine, sums: _Array, count: int, gain: float) -> tuple[_Array, _Array, _Array]:
    """The factors of `pipeline.kernels.norm_cpu.finish`, and the gradients of weight and bias, from sums (T, 2, C)."""
    if len(affine.mean) == 1:
        sums = sums.sum(0, keepdims=True)
    of_bias, of_weight = sums[:, 0] * gain, sums[:, 1] * affine.inverse * gain
    # The gradient g of what the neuron reads becomes scale (g - mean of g - xhat * mean of g xhat), xhat being
    # (x - mean) / deviation. The scale of the kernels already includes the gain.
    plain = affine.scale.astype(np.float64) / gain
    factors = affine.scale, -plain * of_weight * affine.inverse / count, affine.mean, -plain * of_bias / count
    return np.stack(factors, 1).astype(_float), of_weight.sum(0).astype(_float), of_bias.sum(0).astype(_float)


class _NormNeuron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, _bias: Tensor, norm: BatchNorm, steps: Steps, *states: Tensor
    ) -> tuple[Tensor, ...]:
        mean, var, count = _statistics(x, norm.mode == "joint")
        _follow(norm, mean, var, count)
        affine = _affine(norm, mean, var, steps.gain)
        found = _forward(x, affine, states, steps)
        ctx.save_for_backward(x, weight, *states)
        ctx.set_materialize_grads(False)
        ctx.affine, ctx.steps, ctx.count = affine, steps, count
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, *states = ctx.saved_tensors
        with torch.no_grad():
            found = _NormNeuron._gradient(ctx, x, states, *grads)
        of_x, of_weight, of_bias, *of_states = once(found, x, weight, *states, *grads)
        return of_x, of_weight, of_bias, None, None, *of_states

    @staticmethod
    def _gradient(
        ctx: Any, x: Tensor, states: list[Tensor], grad_spikes: Tensor | None, *grads: Tensor | None
    ) -> tuple[Any, ...]:
        affine, steps = ctx.affine, ctx.steps
        cut, elements = _cut(x), x[0].numel()
        current = _rows(x)
        grad = buffers.empty_rows(len(x), elements, x.dtype)
        wants_states = any(ctx.needs_input_grad[5:])
        before = [buffers.empty_rows(1, elements if wants_states else 0) for _ in states]
        sums = np.empty((cut.chunks, len(x), 2, x.shape[2]))
        of_spikes = _rows(x.new_zeros(()).expand(x.shape) if grad_spikes is None else grad_spikes)
        kernel = steps.backward(
            Outputs(of_spikes, [np.zeros(1, _float) if given is None else _row(given) for given in grads]),
            current,
            [_row(state) for state in states],
            affine,
            InputGradients(bits(grad), [row[0].numpy() for row in before], sums),
        )
        for_parts(partial(kernel, cut.length, cut.blocks), cut.chunks, x.numel())
        factors, *parameters = _factors(affine, sums.sum(0), ctx.count, steps.gain)
        finish = partial(norm_cpu.finish, bits(grad), current, factors, cut.length)
        for_parts(finish, -(-elements // cut.length), x.numel())
        small = (torch.from_numpy(part) for part in parameters)
        found = [
            _unrolled(row, state.shape).to(state.dtype) if wants_states else None
            for row, state in zip(before, states, strict=True)
        ]
        return _unrolled(grad, x.shape), *small, *found
