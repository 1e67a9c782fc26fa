"""Which neurons run fused over time, on which input, and what the fused neurons share."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import torch
from spikingjelly.activation_based.neuron import BaseNode

from pipeline.kernels.surrogate_kernels import KINDS
from preprocess.errors import ConfigError

Backend = Literal["auto", "fused", "torch"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class BackendError(ConfigError):
    """The fused backend was requested but cannot be used."""


def find_obstacle(node: Any, x: torch.Tensor) -> str | None:
    """Why fused kernels cannot process this input with the node's surrogate and parameters, or None if they can."""
    if torch.jit.is_tracing():
        return "expected a call that is run, found one that torch.jit.trace records"
    if x.device.type not in ("cpu", "cuda"):
        return f"expected a tensor on the CPU or on CUDA, found one on {x.device}"
    if x.is_cuda and find_spec("triton") is None:
        return "expected the package triton for a tensor on CUDA, found none"
    if x.dtype not in _DTYPES:
        return f"expected float32, bfloat16 or float16, found {x.dtype}"
    function = node.surrogate_function
    name = type(function).__name__
    if name not in KINDS or not function.spiking:
        return f"expected a spiking surrogate of {', '.join(KINDS)}, found {name}"
    if not has_plain_numbers(node):
        return "expected a number for each of tau, v_threshold, v_reset and alpha, found a learnt one or several"
    return None


def has_plain_numbers(node: Any) -> bool:
    """Whether tau, v_threshold, v_reset and alpha of a node are single numbers that need no gradient."""
    return not any(
        isinstance(value, torch.Tensor) and (value.numel() != 1 or value.requires_grad)
        for value in (node.tau, node.v_threshold, node.v_reset, getattr(node.surrogate_function, "alpha", None))
    )


def chooses_fused(backend: Backend, obstacle: str | None) -> bool:
    """Whether to run fused.

    Raises:
        BackendError: If the backend is ``fused`` and there is an obstacle.
    """
    if backend == "fused" and obstacle is not None:
        raise BackendError(f"backend='fused': {obstacle}. Use backend='auto' or 'torch'.")
    return backend != "torch" and obstacle is None


def takes_norm(node: Any, stores: bool) -> bool:
    """Whether one of our nodes has, with its settings, kernels that include the preceding batch norm."""
    function = node.surrogate_function
    known = type(function).__name__ in KINDS and function.spiking and has_plain_numbers(node)
    plain = node.temporal_window is None and node._neuron_precision is None and not stores
    return known and plain and node.step_mode == "m" and node.fused_backend != "torch"


def spread_states(
    node: BaseNode, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], step_mode: str
) -> tuple[Any, ...]:
    """States with the numbers among them as expanded tensors (B, ...), which need no memory, unlike SpikingJelly's."""
    x = inputs[0][0] if step_mode == "m" else inputs[0]
    precision = getattr(node, "_neuron_precision", None)
    dtype = x.dtype if step_mode == "s" or precision is None else precision[0]
    return tuple(
        torch.full((), state, dtype=dtype, device=x.device).expand(x.shape) if isinstance(state, float) else state
        for state in states
    )


def step_by_step(
    node: BaseNode, x: torch.Tensor, states: tuple[Any, ...]
) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
    """A sequence x (T, B, ...) by a node's single steps: spikes and the new states."""
    # SpikingJelly indexes the sequence at each step, and the gradient of each index is as large as the sequence.
    steps = []
    for current in x.unbind(0):
        (spikes,), states = node.single_step_functional_forward((current,), states)
        steps.append(spikes)
    return (torch.stack(steps),), states


def surrogate_kind(surrogate_function: Any) -> tuple[int, float]:
    """The kind of a surrogate as the kernels number it, and alpha."""
    return KINDS[type(surrogate_function).__name__], float(surrogate_function.alpha)
