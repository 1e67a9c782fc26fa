"""Tensors in the form that kernels need: rows over memory with the channel fastest or slowest, as NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.kernels import buffers


def rows(x: torch.Tensor) -> torch.Tensor:
    """A sequence (T, ...) as contiguous float32 rows (T, N)."""
    return buffers.converted(x.detach().contiguous().view(len(x), -1), torch.float32)


def is_repeated(x: torch.Tensor) -> bool:
    """Whether a sequence (T, ...) is one time step that all T > 1 share in memory, as that of a static image.

    What has no state is then the same at each step, and layers compute it once.
    """
    return x.dim() > 1 and len(x) > 1 and x.stride(0) == 0


def repeated(step: torch.Tensor, timesteps: int) -> torch.Tensor:
    """A sequence (T, ...) whose steps share the memory of one (...); its gradient is the sum over the steps."""
    return step.expand(timesteps, *step.shape)


def has_fastest_channel(x: torch.Tensor) -> bool:
    """Whether a sequence on the CPU is in memory as T, B, H, W, C and is not contiguous as well."""
    fits = x.device.type == "cpu" and x.dim() == 5 and x.numel() > 0 and not torch.compiler.is_compiling()
    return fits and not x.is_contiguous() and x.movedim(2, -1).is_contiguous()


def row(x: torch.Tensor) -> torch.Tensor:
    """A state (...) as a contiguous float32 row (N,), or (1,) if it is one number expanded over all elements."""
    x = x.detach()
    if x.numel() and not any(x.stride()):
        x = x.as_strided((1,), (1,))
    return x.to(torch.float32).contiguous().view(-1)


def array(x: torch.Tensor) -> NDArray[np.float32]:
    """The tensor's memory as a NumPy array."""
    return x.detach().numpy()


def pixels(x: torch.Tensor) -> NDArray[np.float32]:
    """Images (N, C, H, W) in channels-last memory, flat in the order of their memory."""
    return x.detach().permute(0, 2, 3, 1).reshape(-1).numpy()
