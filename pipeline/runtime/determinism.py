"""Deterministic algorithms of PyTorch and cuBLAS, for runs that are repeated bit for bit on a GPU."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Within the context, PyTorch uses only deterministic algorithms, and raises RuntimeError where it has none.

    Args:
        wanted: If False, the context changes nothing.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    # Required by cuBLAS for deterministic results; read when it is initialised.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
