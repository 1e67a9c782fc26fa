"""Below each strip of frames: the share of a network's neurons that fire at each of them, layer by layer."""

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
from tune.rendering.panels import short_layer
from tune.report.section import Spikes

if TYPE_CHECKING:
    from pipeline.evaluation.spikes_over_time import SpikesOverTime

MOST_FRAMES = 16
# Samples of a large network take long; those that the time does not reach have their frames alone.
_MOST_SECONDS = 3.0
_GAP, _CELL = 2, 16
_COLOUR = (47, 158, 119)
# No neuron fires: a faint square, light or dark, as a frame without events is.
_FAINT = 0.09


def shown_steps(steps: int) -> NDArray[np.int64]:
    """Which time steps a strip shows: all, or so many spread evenly."""
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
    """A picture (H, W, 4) as a PNG inside an address."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


class Firing:
    """Runs the networks of some runs on samples, and draws how they fire.

    Args:
        runs: By the name that the page gives them.
        frames: What all of them read.
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
        """Show the networks a sample, while there is time."""
        self._asked += 1
        if self._networks and time.perf_counter() < self._end:
            self._shares[sample] = {name: network.shares(sample) for name, network in self._networks.items()}
            if len(self._shares) == 1:
                # The first loads or compiles kernels, which says nothing about the others.
                self._end = float("inf")

    @property
    def _most(self) -> float:
        """The largest share of all: one scale for all networks, samples and layers."""
        shares = [by_layer.max(initial=0.0) for of in self._shares.values() for by_layer in of.values()]
        return max(max(shares, default=0.0), 1e-9)

    def draw(self, sample: int) -> tuple[Spikes, ...]:
        """What each network did at the sample; nothing where it was not run."""
        of = self._shares.get(sample, {})
        return tuple(self._draw(name, shares) for name, shares in of.items() if shares.size)

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
        """What the cells show, and what is missing and why."""
        said = []
        if self._shares:
            said.append(
                "Below: the share of each layer's neurons that fire at that step, from the first layer (top) to the "
                f"last; full colour is {100 * self._most:.1f} %."
            )
            if len(self._shares) < self._asked:
                said.append(f"{len(self._shares)} of {self._asked} samples were run: a report does not wait for more.")
        if self._missing:
            said.append(f"Spikes are not shown of {'; '.join(self._missing)}.")
        return " ".join(said)
