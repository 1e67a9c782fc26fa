"""The table of the paper's rows in docs/paper.md: ``python -m benchmarks.paper_table``.

Rows, commands and printed numbers are those of the presets. Memory and FLOPs are those of `spikeloom train --dry-run`
with a GPU in mind, which takes minutes for all rows and no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import RunConfig, override
from pipeline.dry_run.dry_run import dry_run
from pipeline.presets.preset import Preset
from pipeline.presets.registry import PRESETS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "paper.md"
BEGIN = "<!-- made by: python -m benchmarks.paper_table -->\n"
END = "<!-- end of the table -->\n"
HEADS = ("from", "data set", "network", "neuron", "T", "`spikeloom train` …", "paper, %", "memory", "work", "run here")
NOT_RUN = "not run: needs a GPU and the data"

_BY_LABEL = {neuron.traits.label: name for name, neuron in NEURONS.items()}
# Rows of which the paper prints no accuracy: figures, the ANN of Tiny-ImageNet, and energy in Table 6.
_NO_ACCURACY: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Table 1", "tiny-imagenet-vgg13-ann", ("relu",)),
    ("Table 6", "tiny-imagenet-vgg13", ("lif",)),
    ("Table 6", "cifar10dvs-vgg11-t10", ("lif", "clif")),
    ("Figure 2", "cifar10-snn5", ("lif", "clif")),
    ("Figure 4", "cifar10-resnet18-t8", ("lif", "plif", "klif", "glif")),
    ("Figure 4", "cifar100-resnet18", ("plif", "klif", "glif")),
)


@dataclass(frozen=True)
class Row:
    """A row of the paper: a preset, a neuron, and the printed test accuracy, "–" if none is printed."""

    preset: Preset
    source: str
    neuron: str
    accuracy: str

    @property
    def config(self) -> RunConfig:
        """The configuration of its run."""
        return override(self.preset.config, {"neuron.name": self.neuron})

    @property
    def command(self) -> str:
        """The arguments of `spikeloom train`."""
        own = self.neuron == self.preset.config.neuron.name
        return self.preset.name if own else f"{self.preset.name} --neuron.name {self.neuron}"

    def cells(self, memory: str, work: str) -> tuple[str, ...]:
        """The cells of the table; see `HEADS`."""
        config = self.config
        label = NEURONS[self.neuron].traits.label
        steps, command = str(config.binning.timesteps), f"`{self.command}`"
        start = (self.source, config.dataset.name, config.network.name, label, steps, command)
        return (*start, self.accuracy, memory, work, NOT_RUN)


def rows() -> Iterator[Row]:
    """Iterate over the rows of tables and figures; cells of Table 3 have a preset each and are left out."""
    for preset in PRESETS.values():
        if preset.paper is None or preset.config.grad_steps is not None:
            continue
        source = preset.summary.partition(":")[0]
        for part in preset.paper.split(", "):
            label, accuracy = part.split(" ")
            yield Row(preset, source, _BY_LABEL[label], f"{accuracy} *" if preset.variant else accuracy)
    for source, name, neurons in _NO_ACCURACY:
        for neuron in neurons:
            yield Row(PRESETS[name], source, neuron, "–")


def cost(config: RunConfig) -> tuple[str, str]:
    """Memory on a GPU and floating-point operations of a run, as texts."""
    with TemporaryDirectory() as empty:
        report = dry_run(override(config, {"threads": 1}), Path(empty))
    memory = report["memory_bytes"]["all"] + (report["cuda_besides_bytes"] or 0)
    return f"{memory / 1e9:.1f} GB", work(report["flops_of_run"])


def work(flops: int) -> str:
    """Floating-point operations as a text with two digits, or as whole PFLOP."""
    return f"{flops / 1e15:.{1 if flops < 1e16 else 0}f} PFLOP"


def table() -> str:
    """The table in Markdown."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    for row in rows():
        lines.append(f"| {' | '.join(row.cells(*cost(row.config)))} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the table on the page."""
    found = table()
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + found + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
