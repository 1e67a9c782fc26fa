"""A training step of Gesture-VGG11 on the CPU, compared with the same network from SpikingJelly 2.0.

``python -m benchmarks.training_gesture``. Spiking-VGG11 of the DVS-Gesture preset with CLIF, 128x128, T = 20, B = 2,
fp32, joint batch norm. Every block of both must give equal outputs and gradients first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.measuring import format_table, timed_row
from benchmarks.training import timed
from benchmarks.training_gpu import WORKLOADS, check_equal, steps_of
from pipeline.config.run_config import override
from pipeline.dry_run.dry_run import dry_run
from pipeline.presets.registry import find_preset
from preprocess.freed_memory import keep_freed_memory

TARGET = 1.8
_TINY = {"network.width": 0.125, "binning.timesteps": 2, "input.size": 32}


@dataclass(frozen=True)
class Arguments:
    """Compare training steps.

    Example: python -m benchmarks.training_gesture
    """

    tiny: bool = False
    """Only check on small inputs that the results are equal; the printed times mean nothing."""
    batch: int = 2
    """Samples in a batch."""
    repeats: int = 3
    """Number of timings, in turns; the median counts."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    keep_freed_memory()
    workload, device = WORKLOADS["gesture"], torch.device("cpu")
    changes = {"neuron.name": "clif", "network.batch_norm": "joint", "device": "cpu", "precision": "fp32"}
    changes |= {"batch_size": arguments.batch, **(_TINY if arguments.tiny else {})}
    config = override(find_preset(workload.preset).config, changes)
    form = dry_run(config, Path("no-cache"))
    check_equal(workload, config, form, device)
    our_step, their_step = steps_of(workload, config, form, device)
    works = {"ours": our_step(), "theirs": their_step()}
    found = timed(works, 1 if arguments.tiny else arguments.repeats)
    ours, theirs = found["ours"], found["theirs"]
    side = form["input_size"][0]
    work = f"{workload.title} {side}x{side}, T = {form['timesteps']}, B = {arguments.batch}, training step, CLIF, fp32"
    row = timed_row(work, ours, theirs, "SpikingJelly fp32", TARGET)
    print(format_table([row]))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
