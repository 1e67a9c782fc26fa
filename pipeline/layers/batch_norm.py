"""Batch norm over sequences: per time step, as the CLIF authors' code normalises, or jointly over all of them.

Per step, each time step is normalised over its own B images and the running statistics are updated T times in order,
bit for bit as by T calls of nn.BatchNorm2d. The native kernel reads and writes each step's slice of the sequence.
Measured forward and backward on one CPU thread at (T, B, C, H, W) = (10, 32, 24, 34, 34): 32 ms, as much as the joint
kernel. Slower alternatives: stacking the outputs of a loop over `unbind`, 41 ms (4 times as much over an index, because
the gradient of each index is as large as the sequence); one kernel over a (B, T*C) view, which copies, 46 ms;
`var_mean` and `addcmul` through autograd, 99 ms.

If all time steps share their memory (`pipeline.kernels.tensors.is_repeated`), one of them is normalised.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from pipeline.kernels.tensors import is_repeated, repeated
from preprocess.errors import ConfigError

_normalise = torch.ops.aten.native_batch_norm.out
_differentiate = torch.ops.aten.native_batch_norm_backward


class _NormaliseEachStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        var: torch.Tensor,
        momentum: float,
        eps: float,
    ) -> torch.Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        # In the dtype of the weights, which is wider than the input's in mixed precision.
        saved = weight.new_empty(2, x.shape[0], x.shape[2])
        for t in range(len(x)):
            _normalise(
                x[t], weight, bias, mean, var, True, momentum, eps,
                out=out[t], save_mean=saved[0, t], save_invstd=saved[1, t],
            )  # fmt: skip
        ctx.save_for_backward(x, weight, saved)
        ctx.eps = eps
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, saved = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = torch.empty_like(x)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        # From the last step to the first, as autograd would sum.
        for t in reversed(range(len(x))):
            grad_x[t], of_weight, of_bias = _differentiate(
                grad[t], x[t], weight, None, None, saved[0, t], saved[1, t], True, ctx.eps, [True, True, True]
            )
            grad_weight += of_weight
            grad_bias += of_bias
        return grad_x, grad_weight, grad_bias, None, None, None, None


class SequenceBatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d for sequences; its state dict and its evaluation mode are the same.

    Args:
        channels: C.
        mode: ``per-step`` or ``joint`` (over T*B images at once, as SpikingJelly's multi-step layer).
    """

    def __init__(self, channels: int, mode: Literal["per-step", "joint"]) -> None:
        super().__init__(channels)
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to the same shape.

        Raises:
            ConfigError: If a time step of a training batch has only one value per channel.
        """
        if is_repeated(x) and x[0].numel() > x.shape[2]:
            return repeated(self._of_repeated(x[0], len(x)), len(x))
        if not self.training:
            flat = functional.batch_norm(
                x.flatten(0, 1), self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
            return flat.view(x.shape)
        if self.mode == "joint":
            return super().forward(x.flatten(0, 1)).view(x.shape)
        if x.numel() == x.shape[0] * x.shape[2]:
            raise ConfigError(
                "batch_size: expected at least 2 if feature maps shrink to one pixel, found 1: batch norm needs more "
                "than one value per channel in a time step. Increase batch_size or input.size."
            )
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(len(x))
        return _NormaliseEachStep.apply(
            x, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps
        )

    def _of_repeated(self, step: torch.Tensor, timesteps: int) -> torch.Tensor:
        """The output at each of T equal time steps (B, C, H, W), with the running statistics that all T would leave.

        Every step has the same mean and variance, also jointly. Per step, T updates with momentum m are one with
        1 - (1 - m)^T. Joint variances are unbiased over T times as many values, n: T n / (T n - 1) of the biased one in
        place of n / (n - 1).
        """
        if not self.training:
            return functional.batch_norm(
                step, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        assert self.num_batches_tracked is not None and self.momentum is not None
        assert self.running_mean is not None and self.running_var is not None
        if self.mode == "per-step":
            self.num_batches_tracked.add_(timesteps)
            return functional.batch_norm(
                step,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                True,
                1 - (1 - self.momentum) ** timesteps,
                self.eps,
            )
        self.num_batches_tracked.add_(1)
        # With a running variance of 0, what remains is the momentum times the unbiased variance of the step.
        found = torch.zeros_like(self.running_var)
        out = functional.batch_norm(
            step, self.running_mean, found, self.weight, self.bias, True, self.momentum, self.eps
        )
        values = step.numel() // step.shape[1]
        factor = (values - 1) * timesteps / (values * timesteps - 1)
        with torch.no_grad():
            self.running_var.mul_(1 - self.momentum).add_(found, alpha=factor)
        return out

    def extra_repr(self) -> str:
        """Number of channels and mode, for PyTorch's ``repr`` of the module."""
        return f"{self.num_features}, mode={self.mode!r}"
