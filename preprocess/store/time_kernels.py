"""Numba kernel that restores the times of events from their differences; it releases the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.jit import compile_kernel


@compile_kernel
def sum_differences(delta: Any, offset: Any, start_us: Any, jump_at: Any, jump_us: Any, t: Any) -> None:
    """Sum the differences of each sample.

    Args:
        delta: Differences modulo 2^32 of consecutive samples, uint32 (N,); the first of each sample is not used.
        offset: The first event of each sample, and N, int64 (S + 1,).
        start_us: The first time of each sample, int64 (S,).
        jump_at: Events whose difference is outside [-2^31, 2^31), ascending, int64 (J,).
        jump_us: What their differences lack, int64 (J,).
        t: Output, int64 (N,).
    """
    next_jump = 0
    for s in range(len(start_us)):
        now = start_us[s]
        for k in range(offset[s], offset[s + 1]):
            # As a signed number, a difference is correct up to a jump of more than half an hour.
            now += np.int64(np.int32(delta[k])) if k > offset[s] else 0
            if next_jump < len(jump_at) and jump_at[next_jump] == k:
                now += jump_us[next_jump]
                next_jump += 1
            t[k] = now
