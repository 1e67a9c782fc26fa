"""How loops over activations are compiled: as `preprocess.jit` has it, with contraction."""

from __future__ import annotations

from functools import partial

from numba import njit

from preprocess import jit

# fastmath's contraction alone lets a product and a sum become one instruction; NaN and infinity stay as they are.
compile_kernel = partial(jit.compile_kernel, fastmath={"contract"})


inline = njit(inline="always", error_model="numpy", fastmath={"contract"})
