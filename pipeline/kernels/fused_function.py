"""The fused neurons as autograd functions: what the operators of LIF and CLIF have in common.

Results are separate tensors, not views: torch refuses to detach a view in place, or to change in place one of several
results of a function. Both are common with spikes and states: truncated back-propagation, residual sums, in-place
dropout. Backward does not use the spikes, so changing them in place does not affect the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from pipeline.kernels.tensors import has_fastest_channel
from preprocess.errors import ConfigError

Tensors = tuple[Tensor, ...]
OptionalTensors = tuple[Tensor | None, ...]


class DerivativeError(ConfigError):
    """A derivative was requested that the fused neurons do not support."""


@dataclass(frozen=True)
class Kernels:
    """A neuron's two directions over all time steps.

    Args:
        forward: Maps input x (T, ...), states (...), settings and whether to save for backward to spikes (T, ...), the
            new states (...) and what backward needs as float32 rows (T, N), or (0, N) if nothing is saved.
        backward: Maps gradients of spikes and new states, the saved rows, the kept states, settings and whether
            gradients of the initial states are needed to the gradients of x and of each state, or None for the latter.
        states: Number of states.
        saved: Number of tensors of rows that forward returns.
        kept: Indices of the initial states that backward needs.
    """

    forward: Callable[[Tensor, Tensors, Any, bool], tuple[Tensor, Tensors, Tensors]]
    backward: Callable[[Tensor, Tensors, Tensors, Tensors, Any, bool], tuple[Tensor, OptionalTensors]]
    states: int
    saved: int
    kept: tuple[int, ...] = ()


@dataclass(slots=True)
class _Call:
    kernels: Kernels
    settings: Any
    saves: bool
    channels_last: bool
    """Whether the channel is fastest in memory; elements are independent, so they are processed in memory order."""


def run(kernels: Kernels, settings: Any, x: Tensor, *states: Tensor) -> Tensors:
    """Spikes (T, ...) and the new states (...) of input x (T, ...) from the states before it; differentiable once."""
    transformed = is_transformed()
    # It cannot be seen here which level of nested transforms needs a gradient.
    saves = transformed or wants_gradient(x, *states)
    call = _Call(kernels, settings, saves, not transformed and has_fastest_channel(x))
    found: Tensors = (_Transformed if transformed else _Fused).apply(call, x, *states)
    return found[: 1 + kernels.states]


def results(kernels: Kernels, settings: Any, x: Tensor, states: Tensors, saves: bool) -> Tensors:
    """Spikes, the new states and the saved rows, none of them a view."""
    spikes, after, saved = kernels.forward(x, states, settings, saves)
    return tuple(result.detach() for result in (spikes, *after, *saved))


def is_transformed() -> bool:
    """Whether this runs inside a transform of torch.func, whose tensors wrap others and have no memory."""
    return not torch.compiler.is_compiling() and bool(torch._C._are_functorch_transforms_active())


def wants_gradient(*tensors: Tensor) -> bool:
    """Whether autograd records operations on these."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def refuse_derivative(*_: Any) -> NoReturn:
    """Raise the error of second derivatives and of forward mode."""
    raise DerivativeError(
        "backend: expected first derivatives in reverse mode, which the fused neurons support, found a request for "
        "second derivatives or forward mode. Use backend='torch' and torch.autograd.grad(..., create_graph=True)."
    )


def once(gradients: OptionalTensors, *sources: Tensor | None) -> OptionalTensors:
    """Gradients unchanged; if autograd records them, as results that cannot be differentiated again.

    Args:
        gradients: Results of backward.
        sources: Tensors that they depend on.
    """
    return _Once.apply(len(gradients), *gradients, *sources) if torch.is_grad_enabled() else gradients


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor | None) -> OptionalTensors:
        return tensors[:count]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:
        refuse_derivative()


def _forward(call: _Call, x: Tensor, states: Tensors) -> Tensors:
    """Spikes, the new states and the saved rows."""
    if not call.channels_last:
        return results(call.kernels, call.settings, x, states, call.saves)
    states = tuple(state.movedim(1, -1) for state in states)
    spikes, after, saved = call.kernels.forward(x.movedim(2, -1), states, call.settings, call.saves)
    moved = spikes.movedim(-1, 2), *(state.movedim(-1, 1) for state in after)
    return tuple(result.detach() for result in (*moved, *saved))


def _remember(ctx: Any, call: _Call, states: Tensors, found: Tensors) -> None:
    count = 1 + call.kernels.states
    # The saved rows are differentiable: a second derivative passes through them and is refused in one place.
    ctx.save_for_backward(*found[count:], *(states[k] for k in call.kernels.kept))
    ctx.set_materialize_grads(False)
    ctx.call = call
    ctx.outputs = [(one.shape, one.dtype, one.device) for one in found[:count]]


def _backward(ctx: Any, *grads: Tensor | None) -> OptionalTensors:
    call, count = ctx.call, 1 + ctx.call.kernels.states
    if any(grad is not None and torch._C._functorch.is_legacy_batchedtensor(grad) for grad in grads):
        raise DerivativeError(
            "backend: expected one gradient at a time, found several (is_grads_batched, or jacobian with "
            "vectorize=True). Use torch.func.jacrev or torch.func.vmap, or backend='torch'."
        )
    if any(grad is not None for grad in grads[count:]):
        refuse_derivative()
    known = [
        # Zeros without memory for results that were not used.
        torch.zeros((), dtype=dtype, device=device).expand(shape) if grad is None else grad
        for grad, (shape, dtype, device) in zip(grads[:count], ctx.outputs, strict=True)
    ]
    tensors = ctx.saved_tensors  # read once: under torch.utils.checkpoint each access runs the forward pass again
    saved, kept = tensors[: call.kernels.saved], tensors[call.kernels.saved :]
    if call.channels_last:
        known = [known[0].movedim(2, -1), *(grad.movedim(1, -1) for grad in known[1:])]
        kept = tuple(state.movedim(1, -1) for state in kept)
    if torch.is_grad_enabled() or is_transformed():
        found = _Gradient.apply(call, *known, *saved, *kept)
    else:
        found = _gradient(call, (*known, *saved, *kept), any(ctx.needs_input_grad[2:]))
    if call.channels_last:
        of_states = (None if grad is None else grad.movedim(-1, 1) for grad in found[1:])
        found = found[0].movedim(-1, 2), *of_states
    return None, *found


class _Fused(torch.autograd.Function):
    """(call, x, *states) to (spikes, *new states, *saved rows)."""

    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *states: Tensor) -> Tensors:
        found = _forward(call, x, states)
        _remember(ctx, call, states, found)
        return found

    backward = staticmethod(_backward)


class _Transformed(torch.autograd.Function):
    """The same for transforms of torch.func, which need a form of a function that is slower to call."""

    @staticmethod
    def forward(call: _Call, x: Tensor, *states: Tensor) -> Tensors:
        return _forward(call, x, states)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        call, _, *states = inputs
        _remember(ctx, call, tuple(states), output)

    backward = staticmethod(_backward)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: _Call, x: Tensor, *states: Tensor) -> tuple[Tensors, Any]:
        batch = info.batch_size
        folded = [_with_batch(state, dim, 0, batch) for state, dim in zip(states, in_dims[2:], strict=True)]
        found = _Transformed.apply(call, _with_batch(x, in_dims[1], 1, batch), *folded)
        count = 1 + len(states)
        rows = (_cut_rows(one, batch) for one in found[count:])
        dims = 1, *(0 for _ in states), *(1 for _ in range(call.kernels.saved))
        return (*found[:count], *rows), dims

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        refuse_derivative()


class _Gradient(torch.autograd.Function):
    """Backward as a separate function, for transforms and for graphs of the gradient."""

    @staticmethod
    def forward(call: _Call, *tensors: Tensor) -> OptionalTensors:
        return _gradient(call, tensors, wants_states=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:
        refuse_derivative()

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: _Call, *tensors: Tensor) -> tuple[Tensors, Any]:
        kernels, batch = call.kernels, info.batch_size
        # Gradients of spikes and states, saved rows, kept states.
        to = 1, *(0 for _ in range(kernels.states)), *(1 for _ in range(kernels.saved)), *(0 for _ in kernels.kept)
        folded = [
            _with_batch(tensor, dim, place, batch) for tensor, dim, place in zip(tensors, in_dims[1:], to, strict=True)
        ]
        first = 1 + kernels.states
        for k in range(first, first + kernels.saved):
            folded[k] = folded[k].flatten(1)
        return _Gradient.apply(call, *folded), to[:first]

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        refuse_derivative()


def _gradient(call: _Call, tensors: Tensors, wants_states: bool) -> OptionalTensors:
    kernels = call.kernels
    of_spikes, of_states = tensors[0], tensors[1 : 1 + kernels.states]
    saved, kept = tensors[1 + kernels.states :][: kernels.saved], tensors[1 + kernels.states + kernels.saved :]
    of_x, before = kernels.backward(of_spikes, of_states, saved, kept, call.settings, wants_states)
    return of_x, *before


def _with_batch(x: Tensor, dim: int | None, to: int, batch: int) -> Tensor:
    """A tensor with the batch of a vmap at a dimension, as one more dimension of elements."""
    if dim is not None:
        return x.movedim(dim, to)
    return x.unsqueeze(to).expand(*x.shape[:to], batch, *x.shape[to:])


def _cut_rows(rows: Tensor, batch: int) -> Tensor:
    """Rows (T, batch * N) as (T, batch, N)."""
    return rows.view(len(rows), batch, rows.shape[1] // batch)
