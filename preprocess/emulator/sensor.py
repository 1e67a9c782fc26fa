"""A DVS sensor: light in, events out.

Each pixel remembers a logarithm of luminance and speaks when the present one has left it by a contrast threshold, up
(ON) or down (OFF). After an event the pixel rests for its refractory period, and then remembers the luminance at the
end of it (Lichtsteiner et al., A 128x128 120 dB 15 µs latency asynchronous temporal contrast vision sensor, 2008).
Between two frames log luminance runs linearly, so that events have times of their own and a pixel may speak several
times (Rebecq et al., ESIM: an Open Event Camera Simulator, CoRL 2018). Thresholds differ between pixels, and pixels
speak without cause: shot noise of either polarity, and leak events, which are ON (Hu, Liu and Delbruck, v2e: From
Video Frames to Realistic DVS Events, CVPRW 2021). Leak is a drift in a pixel; here it is a Poisson process of the same
mean rate. A pixel's finite bandwidth is left out: films are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.jit import compile_kernel

# An event as one number, whose order is that of time, then pixel: (t << _TIME_SHIFT) | (pixel << 1) | polarity.
_TIME_SHIFT = 24

_LOWEST_THRESHOLD = 0.02


@dataclass(frozen=True)
class PixelModel:
    """What the pixels of a sensor have in common.

    Attributes:
        on_threshold: Rise of log luminance (base e) that makes an ON event, on average over the pixels.
        off_threshold: Fall that makes an OFF event.
        mismatch: Standard deviation of both thresholds between pixels.
        refractory_us: How long a pixel rests after an event.
        shot_hz: Noise events of either polarity a second and pixel.
        leak_hz: Further ON events a second and pixel.
    """

    on_threshold: float = 0.2
    off_threshold: float = 0.2
    mismatch: float = 0.03
    refractory_us: float = 500.0
    shot_hz: float = 0.3
    leak_hz: float = 0.1


class Sensor:
    """A sensor of equal model and unequal pixels, which watches one film, handed to it in pieces of any length."""

    def __init__(self, model: PixelModel, height: int, width: int, seed: int | Sequence[int]) -> None:
        """The pixels' thresholds and noise follow from the seed alone."""
        if height * width > 1 << (_TIME_SHIFT - 1):
            raise ValueError(f"expected at most {1 << (_TIME_SHIFT - 1)} pixels, found {height}x{width}")
        pixels = height * width
        rng = np.random.default_rng(seed)
        means = np.array([[model.off_threshold], [model.on_threshold]])
        # Thresholds of OFF and ON; a pixel far out in the tail would otherwise never rest.
        self.thresholds = np.maximum(rng.normal(means, model.mismatch, (2, pixels)), _LOWEST_THRESHOLD)
        self.height, self.width, self.model = height, width, model
        # One random stream a pixel: where a film is cut changes nothing.
        self._streams = rng.integers(0, 1 << 64, pixels, np.uint64)
        noise_hz = model.shot_hz + model.leak_hz
        self._noise_gap_us = 1e6 / noise_hz if noise_hz > 0 else np.inf
        self._noise_on_share = (model.leak_hz + model.shot_hz / 2) / noise_hz if noise_hz > 0 else 0.0
        self._noise_at = np.zeros(pixels)
        self._level = np.zeros(pixels)
        # What a pixel compares with, and, where that is not a number, when it will look anew.
        self._memory = np.full(pixels, np.nan)
        self._awake_at = np.zeros(pixels)
        self._frame: NDArray[np.float32] | None = None
        self._time_us = 0

    def expose(self, film: NDArray[np.float32], times_us: NDArray[np.int64]) -> Events:
        """Watch the next frames of the film.

        The very first frame only sets what the pixels remember. From the last frame of the piece before on, log
        luminance runs linearly from each frame to the next.

        Args:
            film: Luminance, above 0 in any unit, float32, shape (F, height, width).
            times_us: Of each frame, int64, shape (F,), increasing from piece to piece too.

        Returns:
            The events from the time of the last frame before up to, not including, that of the last frame given; by
            time, and by pixel within a µs.
        """
        expected = (len(times_us), self.height, self.width)
        if film.shape != expected or not film.min(initial=np.inf) > 0:
            raise ValueError(f"expected luminance above 0, shape {expected}, found shape {film.shape}")
        film = np.ascontiguousarray(film, np.float32).reshape(len(film), self.height * self.width)
        if self._frame is None and len(film):
            self._begin(film[0], int(times_us[0]))
            film, times_us = film[1:], times_us[1:]
        if len(film) == 0:
            return Events.empty(self.height, self.width)
        if np.any(np.diff(times_us, prepend=self._time_us) <= 0):
            raise ValueError("expected times of frames that increase")
        keys = _expose(
            film, times_us, self._frame, self._time_us, self._level, self._memory, self._awake_at, self._noise_at,
            self._streams, self.thresholds, self.model.refractory_us, self._noise_gap_us, self._noise_on_share,
        )  # fmt: skip
        self._frame, self._time_us = film[-1].copy(), int(times_us[-1])
        keys.sort()
        return self._events(keys)

    def reset(self) -> None:
        """Have every pixel take the luminance of the last frame for what it remembers, without an event.

        The DVS128 holds its pixels in reset so, all at once. Nothing that was filmed before is left in them.
        """
        self._memory[:] = np.nan
        self._awake_at[:] = self._time_us

    def _begin(self, frame: NDArray[np.float32], time_us: int) -> None:
        self._frame, self._time_us = frame.copy(), time_us
        self._level[:] = np.log(frame.astype(np.float64))
        self._awake_at[:] = time_us
        _draw_first_noise(self._noise_at, self._streams, time_us, self._noise_gap_us)

    def _events(self, keys: NDArray[np.int64]) -> Events:
        y, x = np.divmod((keys >> 1) & ((1 << (_TIME_SHIFT - 1)) - 1), self.width)
        p = (keys & 1).astype(np.uint8)
        return Events(keys >> _TIME_SHIFT, x.astype(np.uint16), y.astype(np.uint16), p, self.height, self.width)


@compile_kernel
def _uniform(streams: Any, k: int) -> float:
    """A number in (0, 1) from stream k: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    streams[k] += np.uint64(0x9E3779B97F4A7C15)
    z = streams[k]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(11)) + 0.5) * 2.0**-53


@compile_kernel
def _draw_first_noise(noise_at: Any, streams: Any, time_us: float, gap_us: float) -> None:
    for k in range(len(noise_at)):
        noise_at[k] = time_us - gap_us * np.log(_uniform(streams, k))


@compile_kernel
def _expose(
    film: Any, times: Any, frame: Any, time: int, level: Any, memory: Any, awake_at: Any, noise_at: Any,
    streams: Any, thresholds: Any, refractory: float, noise_gap: float, noise_on_share: float,
) -> Any:  # fmt: skip
    """The events of a film as unsorted keys; the state, from `level` to `streams`, moves on to the last frame."""
    keys = np.empty(4096, np.int64)
    n = 0
    t0 = np.float64(time)
    before = frame
    for f in range(len(film)):
        now = film[f]
        t1 = np.float64(times[f])
        for k in range(len(now)):
            if now[k] == before[k] and noise_at[k] >= t1:
                continue
            # l(t) = l0 + slope (t - t0) until the next frame.
            l0 = level[k]
            l1 = np.log(np.float64(now[k]))
            slope = (l1 - l0) / (t1 - t0)
            level[k] = l1
            t: Any = t0
            while True:
                if np.isnan(memory[k]):
                    t = max(t, awake_at[k])
                    if t >= t1:
                        break
                    memory[k] = l0 + slope * (t - t0)
                    if noise_at[k] < t:
                        # Noise has no memory either: what fell into the rest is drawn anew.
                        noise_at[k] = t - noise_gap * np.log(_uniform(streams, k))
                polarity = 0
                when = np.inf
                if slope > 0.0:
                    polarity = 1
                    when = t0 + (memory[k] + thresholds[1, k] - l0) / slope
                elif slope < 0.0:
                    when = t0 + (memory[k] - thresholds[0, k] - l0) / slope
                if noise_at[k] < when:
                    when = noise_at[k]
                    if when < t1:
                        noise_at[k] = when - noise_gap * np.log(_uniform(streams, k))
                        polarity = 1 if _uniform(streams, k) < noise_on_share else 0
                if not when < t1:
                    break
                if n == len(keys):
                    longer = np.empty(2 * n, np.int64)
                    longer[:n] = keys
                    keys = longer
                # Rounding may put a crossing a hair before the frame that it follows.
                t = max(when, t)
                keys[n] = (np.int64(t) << _TIME_SHIFT) | (k << 1) | polarity
                n += 1
                memory[k] = np.nan
                awake_at[k] = t + refractory
        before = now
        t0 = t1
    return keys[:n]
