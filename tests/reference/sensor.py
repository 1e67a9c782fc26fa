"""One pixel of a DVS, walked through time µs by µs: the slow twin of the compiled sensor, without noise."""

from __future__ import annotations

import numpy as np


def pixel_events(
    luminance: np.ndarray, times_us: np.ndarray, on: float, off: float, refractory_us: float
) -> list[tuple[float, int]]:
    """Exact times and polarities of the events of a pixel that sees `luminance` at the whole `times_us`."""
    events: list[tuple[float, int]] = []
    levels = np.log(luminance.astype(np.float64))
    memory, awake = levels[0], float(times_us[0])
    for end in range(int(times_us[0]) + 1, int(times_us[-1]) + 1):
        # Within one µs the level is a straight line, on which the pixel may speak more than once.
        while awake < end:
            now, then = np.interp([max(awake, end - 1), end], times_us, levels)
            threshold = on if then > now else -off
            if (then - memory) / threshold < 1:
                break
            begin = max(awake, end - 1)
            when = begin + (memory + threshold - now) / (then - now) * (end - begin)
            events.append((when, int(threshold > 0)))
            awake = when + refractory_us
            memory = np.interp(awake, times_us, levels)
    return events
