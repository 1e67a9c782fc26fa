"""Imported by every Python process that has this folder in its path: the clock of the machine jumps every two seconds.

All processes see the same jumps, because they share the monotonic clock, which does not jump.
"""

import time

_JUMPS_S = (0.0, 86_400.0, -86_400.0, 31_536_000.0, -5.0, -31_536_000.0)
_PLAIN, _PLAIN_NS = time.time, time.time_ns


def _jump_s() -> float:
    return _JUMPS_S[int(time.monotonic() / 2) % len(_JUMPS_S)]


time.time = lambda: _PLAIN() + _jump_s()
time.time_ns = lambda: _PLAIN_NS() + int(_jump_s() * 1e9)
