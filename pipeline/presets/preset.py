"""The class of presets."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.run_config import RunConfig


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
        name: ``<dataset>-<network>[-t<T>][-ann][-pil][-aug][-<reading>][-<split>]`` for the paper's experiments,
            ``<row>-k<k>-tau<tau>`` for those of Table 3, ``<dataset>-small`` for one that a CPU trains in minutes,
            ``shd-<network>`` for spike trains.
        config: The configuration.
        summary: Its purpose, in one line.
        paper: Test accuracy that the paper reports, in per cent by neuron; None if it reports none.
        time: Measured time of one run on two CPU cores and its number of samples; None if not measured.
        variant: Whether it is a variant of another preset, which tables do not list separately.
    """

    name: str
    config: RunConfig
    summary: str
    paper: str | None = None
    time: str | None = None
    variant: bool = False
