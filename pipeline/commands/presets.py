"""spikeloom presets: the named configurations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preprocess.terminal.command_line import parse

if TYPE_CHECKING:
    from pipeline.presets.preset import Preset


@dataclass(frozen=True)
class Arguments:
    """List the presets: named configurations for train, tune and compare.

    Example: spikeloom presets
    """

    json: bool = False
    """Print one JSON object, from preset name to configuration, instead of a table."""


def run(argv: list[str]) -> None:
    """Print every preset."""
    from pipeline.config.run_config import to_dict
    from pipeline.presets.registry import PRESETS

    arguments = parse(Arguments, argv, prog="spikeloom presets")
    if arguments.json:
        print(json.dumps({name: to_dict(preset.config) for name, preset in PRESETS.items()}))
        return
    _print_table()


def _print_table() -> None:
    from rich import box
    from rich.table import Table

    from pipeline.presets.registry import PRESETS
    from preprocess.terminal.console import console

    title = "Presets (paper: test accuracy in per cent as published; not reproduced here)"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    heads = ("preset", "data set, split", "network", "T", "epochs", "selection", "2 cores take", "paper", "summary")
    for name in heads:
        table.add_column(name, overflow="fold", justify="right" if name in ("T", "epochs") else "left")
    for preset in PRESETS.values():
        if not preset.variant:
            table.add_row(*_cells(preset))
    console().print(table)
    print(_VARIANTS)


# One line for each family of variants; `--json` lists every name.
_VARIANTS = """Variants:
  cifar10-resnet18, cifar100-resnet18[-t4|-t8|-ann]-aug
      rows of Table 1 with an asterisk: TrivialAugment, random erasing, Mixup or CutMix
  cifar10-resnet18-k<1|2|3|4|5|6>-tau<1.1|1.3|1.5|1.8|2>
      Table 3, CIFAR-10, as below; k6-tau2 is the configuration of cifar10-resnet18, with LIF 93.73 in Table 3
  tiny-imagenet-vgg13-readme, tiny-imagenet-vgg13-scripts
      settings of the authors' README and scripts, where they differ from Table 5
  gesture-sdt-sdtrepo, cifar10dvs-sdt[-sdtrepo], cifar10-sdt[-sdtrepo], cifar100-sdt[-sdtrepo]
      Spike-Driven Transformer with its authors' LIF; with their settings for CIFAR10-DVS and CIFAR
  cifar10dvs-vgg11[-t10][-pil][-aug][-first-100-test|-random-0.9]
      T = 10; input as in the released loader; augmentation by flip and rotation (our choice); another split
  cifar10dvs-vggsnn[-aug][-clif-loss|-clifrepo][-first-900-train|-random-0.9]
      PSN's settings; loss, batch norm, dropout, seed and weights of CLIF's Spiking-VGG; the CLIF repository's class
  gesture-vgg11-k<1|4|8|12|16|20>-tau<1.1|1.3|1.5|1.8|2>
      Table 3, DVS-Gesture: the loss is the mean over the first k time steps (--loss.average-over T: the sum over them
      divided by T); k20-tau2 is the configuration of gesture-vgg11, with LIF 97.22 in Table 3 and 97.57 in Table 2
Train with another neuron: spikeloom train PRESET --neuron.name clif. All options: spikeloom train --help-all.
Memory and operations of a run: spikeloom train PRESET --dry-run."""


def _cells(preset: Preset) -> tuple[str, ...]:
    config = preset.config
    return (
        preset.name,
        f"{config.dataset.name}, {config.dataset.split_title}",
        config.network.name,
        config.binning.split_by if config.binning.varies else str(config.binning.timesteps),
        str(config.schedule.epochs),
        config.selection,
        preset.time or "not measured",
        preset.paper or "",
        preset.summary,
    )
