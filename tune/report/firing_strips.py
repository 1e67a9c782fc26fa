"""The share of a network's neurons that fire at each frame of a strip, layer by layer, drawn below the strip."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.runs.run_folder import Run
from preprocess.errors import CacheError, ConfigError, RunError
from preprocess.store.frame_source import FrameSource
from tune.rendering.firing_rate_figure import short_layer
from tune.report.section import Spikes

if TYPE_CHECKING:
    from pipeline.evaluation.spikes_over_time import SpikesOverTime

MOST_FRAMES = 16
# Samples of a large network take long; after this time, further strips show their frames only.
_MOST_SECONDS = 3.0
_GAP, _CELL = 2, 16
_COLOUR = (47, 158, 119)
# A cell in which no neuron fires is a faint square in both themes, as is a frame without events.
_FAINT = 0.09


def shown_steps(steps: int) -> NDArray[np.int64]:
    """The time steps that a strip shows: all of them, or at most `MOST_FRAMES` spread evenly."""
    return np.linspace(0, steps - 1, min(steps, MOST_FRAMES)).round().astype(np.int64)


def side_by_side(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(T, H, W, 4) colours -> one picture (H, ..., 4), transparent between frames."""
    steps, height, width, _ = frames.shape
    strip = np.zeros((height, steps * (width + _GAP) - _GAP, 4), np.uint8)
    for step, frame in enumerate(frames):
        start = step * (width + _GAP)
        strip[:, start : start + width] = frame
    return strip


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture (H, W, 4) as a PNG in a data URI."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


class Firing:
    """Runs the networks of some runs on samples, and draws how they fire.

    Args:
        runs: The runs by their name on the page.
        frames: The frames that all of them read.
    """

    def __init__(self, runs: Mapping[str, Run], frames: FrameSource) -> None:
        self._frames = frames
        self._networks: dict[str, SpikesOverTime] = {}
        self._missing: list[str] = []
        self._shares: dict[int, dict[str, NDArray[np.float64]]] = {}
        self._asked = 0
        for name, run in runs.items():
            self._load(name, run)
        self._end = float("inf")

    def _load(self, name: str, run: Run) -> None:
        if not (run.folder / "best.pt").is_file():
            self._missing.append(f"{name}: no weights (best.pt) in {run.folder.name}")
            return
        from pipeline.evaluation.spikes_over_time import SpikesOverTime

        try:
            self._networks[name] = SpikesOverTime(run, self._frames)
        except (RunError, ConfigError, CacheError) as error:
            self._missing.append(f"{name}: {error}")

    def run(self, sample: int) -> None:
        """Run the networks on a sample, unless the time is used up."""
        self._asked += 1
        if self._networks and time.perf_counter() < self._end:
            self._shares[sample] = {name: network.shares(sample) for name, network in self._networks.items()}
            if len(self._shares) == 1:
                # The first sample loads or compiles kernels, so the time is counted from its end.
                self._end = time.perf_counter() + _MOST_SECONDS

    @property
    def _most(self) -> float:
        """The largest share, which sets one scale for all networks, samples and layers."""
        shares = [by_layer.max(initial=0.0) for networks in self._shares.values() for by_layer in networks.values()]
        return max(max(shares, default=0.0), 1e-9)

    def draw(self, sample: int) -> tuple[Spikes, ...]:
        """The spikes of each network for the sample; empty if it was not run."""
        networks = self._shares.get(sample, {})
        return tuple(self._draw(name, shares) for name, shares in networks.items() if shares.size)

    def _draw(self, name: str, shares: NDArray[np.float64]) -> Spikes:
        steps = shown_steps(shares.shape[1])
        shown = shares[:, steps]
        cells = np.empty((len(steps), len(shown), _CELL, 4), np.uint8)
        cells[..., :3] = _COLOUR
        opacity = _FAINT + (1 - _FAINT) * shown.T / self._most
        cells[..., 3] = (255 * opacity).round().astype(np.uint8)[:, :, None]
        picture = side_by_side(cells)
        at = [
            [
                k * (_CELL + _GAP),
                row,
                k * (_CELL + _GAP) + _CELL,
                row + 1,
                str(step + 1),
                layer,
                f"{100 * share:.1f} % fire",
            ]
            for row, layer in enumerate(map(short_layer, self._networks[name].layers))
            for k, (step, share) in enumerate(zip(steps, shown[row], strict=True))
        ]
        series = {"name": name, "colour": "", "kind": "cells", "at": at}
        axes = {"box": [0, 0, picture.shape[1], picture.shape[0]], "x": "time step", "y": "", "series": [series]}
        values = {"width": picture.shape[1], "height": picture.shape[0], "axes": [axes]}
        hover = json.dumps(values, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        return Spikes(name, data_uri(picture), len(shown), hover)

    def note(self) -> str:
        """A note on what the cells show, and on what is missing and why."""
        notes = []
        if self._shares:
            notes.append(
                "Below each strip: the share of neurons that fire at that time step, from the first layer (top) to the "
                f"last; full colour = {100 * self._most:.1f} %."
            )
            if len(self._shares) < self._asked:
                notes.append(f"Spikes are shown for {len(self._shares)} of {self._asked} samples, to limit the time.")
        if self._missing:
            notes.append(f"Spikes are not shown for {'; '.join(self._missing)}.")
        return " ".join(notes)
