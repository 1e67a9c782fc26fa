"""What a preset is."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.run_config import RunConfig


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
        name: ``<dataset>-<network>[-t<T>][-pil][-aug][-<split>]`` for the paper's, ``gesture-vgg11-k<k>-tau<tau>`` for
            Table 3's, ``<dataset>-small`` for one that a CPU trains in minutes.
        config: What it stands for.
        summary: What it is for, in a line.
        paper: What the paper reports for it, test accuracy in per cent by neuron; None where nothing.
        time: What one run takes on two CPU cores, as measured, and on how many samples; None where none has been run.
        variant: Whether it differs from a row in one or two settings, and is listed beneath it.
    """

    name: str
    config: RunConfig
    summary: str
    paper: str | None = None
    time: str | None = None
    variant: bool = False
