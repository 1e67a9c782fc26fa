"""Batch norm and the neuron behind it as one function of autograd, on CUDA, over contiguous memory.

Forward is three launches: statistics, the table of the channels' factors with the running statistics, and the neuron.
Backward is the neuron with the sums of its gradient, their addition, and the gradient of the input. Nothing in it waits
for the device. Kept are x and the neuron's states before every fourth step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.kernels.fused_function import once, wants_gradient
from pipeline.kernels.norm_cuda import Form, finish, make_table
from pipeline.kernels.norm_neuron import BatchNorm, Steps
from pipeline.kernels.tensors import is_repeated, repeated


def run(x: Tensor, norm: BatchNorm, states: tuple[Tensor, ...], steps: Steps) -> tuple[Tensor, ...]:
    """See `pipeline.kernels.norm_neuron.run`; results are contiguous."""
    saves = norm.training and wants_gradient(x, norm.weight, norm.bias, *states)
    found: tuple[Tensor, ...] = _NormNeuron.apply(x, norm.weight, norm.bias, norm, steps, saves, *states)
    return found


class _NormNeuron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: BatchNorm, steps: Steps, saves: bool, *states: Tensor
    ) -> tuple[Tensor, ...]:
        # Steps that share their memory are read from it.
        x = repeated(x[0].contiguous(), len(x)) if is_repeated(x) else x.contiguous()
        form = Form.of(x)
        table = make_table(x, form, norm, steps.gain)
        if norm.training:
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1 if norm.mode == "joint" else len(x))
        rows = [state.contiguous() for state in states]
        spikes, after, kept = steps.cuda_kernels.forward(x, form, rows, table, steps, saves)
        if saves:
            ctx.save_for_backward(x, table, kept)
        ctx.set_materialize_grads(False)
        ctx.form, ctx.steps = form, steps
        ctx.states = [(state.shape, state.dtype) for state in states]
        return spikes, *after

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, table, kept = ctx.saved_tensors
        with torch.no_grad():
            found = _NormNeuron._gradient(ctx, x, table, kept, *grads)
        of_x, of_weight, of_bias, *of_states = once(found, x, table, kept, *grads)
        return of_x, of_weight, of_bias, None, None, None, *of_states

    @staticmethod
    def _gradient(
        ctx: Any, x: Tensor, table: Tensor, kept: Tensor, grad_spikes: Tensor | None, *grads: Tensor | None
    ) -> tuple[Any, ...]:
        form, steps = ctx.form, ctx.steps
        of_spikes = x.new_zeros(x.shape) if grad_spikes is None else grad_spikes.contiguous()
        ends = None
        if any(grad is not None for grad in grads):
            ends = [
                x.new_zeros(shape, dtype=dtype) if grad is None else grad.contiguous()
                for grad, (shape, dtype) in zip(grads, ctx.states, strict=True)
            ]
        before = None
        if any(ctx.needs_input_grad[6:]):
            before = [x.new_empty(shape, dtype=dtype) for shape, dtype in ctx.states]
        grad, parts = steps.cuda_kernels.backward(of_spikes, ends, x, form, table, kept, before, steps)
        sums = parts.sum(0)
        finish(grad, x, form, table, sums)
        of_bias, of_weight = (sums[0] if len(sums) == 1 else sums.sum(0)) * steps.gain
        of_states: tuple[Tensor | None, ...] = tuple(before or ()) or (None,) * len(ctx.states)
        return grad, of_weight, of_bias, *of_states
