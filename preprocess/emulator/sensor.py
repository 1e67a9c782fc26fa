"""A model of a DVS sensor that converts frames of luminance to events.

Each pixel memorises a log luminance and emits an event when the current value differs from it by a contrast threshold:
ON if it is higher, OFF if it is lower. After an event the pixel is inactive for its refractory period, and then
memorises the luminance at the end of that period (Lichtsteiner et al., A 128x128 120 dB 15 µs latency asynchronous
temporal contrast vision sensor, 2008). Log luminance is interpolated linearly between frames, so that event times are
not tied to frames and a pixel may emit several events between two frames (Rebecq et al., ESIM: an Open Event Camera
Simulator, CoRL 2018). Thresholds differ between pixels, and there are noise events: shot noise of either polarity, and
leak events, which are ON (Hu, Liu and Delbruck, v2e: From Video Frames to Realistic DVS Events, CVPRW 2021). Leak is
really a drift; it is modelled as a Poisson process with the same mean rate. The finite bandwidth of pixels is not
modelled, because the films are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.emulator.noise import LEAK_HZ
from preprocess.events import Events
from preprocess.jit import compile_kernel

# An event is encoded as one integer that sorts by time, then pixel: (t << _TIME_SHIFT) | (pixel << 1) | polarity.
_TIME_SHIFT = 24

_LOWEST_THRESHOLD = 0.02


@dataclass(frozen=True, kw_only=True)
class PixelModel:
    """Parameters of the pixels of a sensor; each data set chooses its noise.

    Attributes:
        on_threshold: Mean over pixels of the rise of log luminance (base e) that causes an ON event.
        off_threshold: Mean over pixels of the fall of log luminance that causes an OFF event.
        mismatch: Standard deviation of both thresholds over pixels.
        refractory_us: Refractory period in µs.
        shot_hz: Shot noise of either polarity, in events per second and pixel; see `noise.py`.
        leak_hz: Leak events, which are ON, per second and pixel.
    """

    on_threshold: float = 0.2
    off_threshold: float = 0.2
    mismatch: float = 0.03
    refractory_us: float = 500.0
    shot_hz: float
    leak_hz: float = LEAK_HZ


class Sensor:
    """A sensor that is exposed to one film, given in segments of any length.

    Attributes:
        thresholds: OFF and ON thresholds of each pixel, float64, shape (2, pixels).
        height: Rows.
        width: Columns.
        model: Parameters of the pixels.
    """

    def __init__(self, model: PixelModel, height: int, width: int, seed: int | Sequence[int]) -> None:
        """Draw the thresholds of the pixels; they and the noise depend only on the seed."""
        if height * width > 1 << (_TIME_SHIFT - 1):
            raise ValueError(f"expected at most {1 << (_TIME_SHIFT - 1)} pixels, found {height}x{width}")
        pixels = height * width
        rng = np.random.default_rng(seed)
        means = np.array([[model.off_threshold], [model.on_threshold]])
        # With a lower limit, because a pixel with a threshold near 0 would emit events without end.
        self.thresholds = np.maximum(rng.normal(means, model.mismatch, (2, pixels)), _LOWEST_THRESHOLD)
        self.height, self.width, self.model = height, width, model
        # One random stream per pixel, so that events do not depend on how the film is divided into segments.
        self._streams = rng.integers(0, 1 << 64, pixels, np.uint64)
        noise_hz = model.shot_hz + model.leak_hz
        self._noise_gap_us = 1e6 / noise_hz if noise_hz > 0 else np.inf
        self._noise_on_share = (model.leak_hz + model.shot_hz / 2) / noise_hz if noise_hz > 0 else 0.0
        self._noise_at = np.zeros(pixels)
        self._level = np.zeros(pixels)
        # The memorised log luminance of each pixel; where it is NaN, the time at which the pixel memorises the next.
        self._memory = np.full(pixels, np.nan)
        self._awake_at = np.zeros(pixels)
        self._frame: NDArray[np.float32] | None = None
        self._time_us = 0

    def expose(self, film: NDArray[np.float32], times_us: NDArray[np.int64]) -> Events:
        """Expose the sensor to the next frames of the film.

        The first frame of the film only initialises the pixels. From there on, log luminance is interpolated linearly
        between frames, also across segments.

        Args:
            film: Luminance, above 0 in any unit, float32, shape (F, height, width).
            times_us: Time of each frame in µs, int64, shape (F,), increasing, also across segments.

        Returns:
            The events from the last frame of the previous segment to the last frame given, exclusive; sorted by time,
            and by pixel within a µs.
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
            raise ValueError("expected increasing times of frames")
        keys = _expose(
            film, times_us, self._frame, self._time_us, self._level, self._memory, self._awake_at, self._noise_at,
            self._streams, self.thresholds, self.model.refractory_us, self._noise_gap_us, self._noise_on_share,
        )  # fmt: skip
        self._frame, self._time_us = film[-1].copy(), int(times_us[-1])
        keys.sort()
        return self._events(keys)

    def reset(self) -> None:
        """Set the memorised luminance of every pixel to that of the last frame, without events.

        This is the global reset of the DVS128. The pixels retain nothing of the earlier film.
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
    """Draw a number in (0, 1) from stream k with SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
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
    """Return the events of a film as unsorted keys; updates the state, from `level` to `streams`, to the last frame."""
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
                        # A noise event within the refractory period is drawn again: a Poisson process has no memory.
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
                # Rounding may put a crossing slightly before the preceding frame.
                t = max(when, t)
                keys[n] = (np.int64(t) << _TIME_SHIFT) | (k << 1) | polarity
                n += 1
                memory[k] = np.nan
                awake_at[k] = t + refractory
        before = now
        t0 = t1
    return keys[:n]
