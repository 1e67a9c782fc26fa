"""Compiles loops over activations as `preprocess.jit` does, with contraction."""

from __future__ import annotations

from functools import partial

from numba import njit

from preprocess import jit

# Of fastmath only contraction, which merges a product and a sum into one instruction; NaN and infinity are preserved.
compile_kernel = partial(jit.compile_kernel, fastmath={"contract"})


inline = njit(inline="always", error_model="numpy", fastmath={"contract"})
