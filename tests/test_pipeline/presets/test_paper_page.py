"""docs/paper.md has every row of the paper that has a preset, as the presets have it."""

from __future__ import annotations

import re
import shlex

import torch

from benchmarks.paper_table import BEGIN, END, HEADS, PAGE, Row, rows, work
from pipeline.commands.config_arguments import given_fields
from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import flatten
from pipeline.cost.operations import count_run_operations
from pipeline.data.input_encoding import input_size
from pipeline.networks import build_network
from pipeline.presets.registry import PRESETS
from preprocess.datasets.registry import find_published

TEXT = PAGE.read_text("utf-8")
LINES = TEXT.partition(BEGIN)[2].partition(END)[0].splitlines()
COMPUTED = {HEADS.index("memory"), HEADS.index("work")}


def cells(line: str) -> list[str]:
    return line.strip("| ").split(" | ")


def test_the_table_has_a_line_for_each_row_as_the_presets_have_it():
    assert cells(LINES[0]) == list(HEADS)
    found = [[cell for number, cell in enumerate(cells(line)) if number not in COMPUTED] for line in LINES[2:]]
    expected = [[cell for number, cell in enumerate(row.cells("", "")) if number not in COMPUTED] for row in rows()]
    assert found == expected, "run: python -m benchmarks.paper_table"


def test_every_printed_accuracy_of_a_preset_is_on_the_page():
    shown = {(row.preset.name, NEURONS[row.neuron].traits.label, row.accuracy.strip(" *")) for row in rows()}
    for preset in PRESETS.values():
        if preset.paper is not None and preset.config.grad_steps is None:
            for part in preset.paper.split(", "):
                assert (preset.name, *part.split(" ")) in shown


def test_commands_set_what_the_row_says():
    for row in rows():
        preset, *words = shlex.split(row.command)
        assert PRESETS[preset] is row.preset
        assert given_fields(words) == ({"neuron.name"} if words else set())
        assert not words or words[-1] == row.neuron
        assert flatten(row.config)["neuron.name"] == row.neuron


def _computed_work(row: Row, macs: dict[str, tuple[int, int]]) -> str:
    """FLOPs of the run: 2 for each MAC, thrice for a training step, once for all time steps where they are the same."""
    config = row.config
    form = find_published(config.dataset.name)
    assert form is not None and form.train is not None
    size = input_size(config.input, *config.binning.size(form.height, form.width))
    key = repr((config.network, size, form.classes, config.input.static, row.neuron == "relu"))
    if key not in macs:
        form_of = {"channels": config.input.channels, "classes": form.classes, "size": size, "timesteps": 1}
        network = build_network(config.network, config.neuron, **form_of, seed=0)  # type: ignore[arg-type]
        operations = count_run_operations(config, network, size, 1, torch.device("cpu"))
        macs[key] = operations.macs, operations.once_macs
    total, once = macs[key]
    passes = 3 * ((total - once) * config.binning.timesteps + once)
    samples = form.train if config.keep_last else form.train // config.batch_size * config.batch_size
    return work(2 * passes * samples * config.schedule.epochs)


def test_the_work_of_images_is_that_of_their_networks_with_what_is_computed_once():
    macs: dict[str, tuple[int, int]] = {}
    checked = 0
    for row, line in zip(rows(), LINES[2:], strict=True):
        # One neuron of one step is enough for the MACs, and ReLU has every layer once.
        if not row.config.input.static or row.neuron not in ("lif", "clif") or "ann" in row.preset.name:
            continue
        assert cells(line)[HEADS.index("work")] == _computed_work(row, macs), row.command
        checked += 1
    assert checked > 15 and all(once > 0 for _, once in macs.values())


def test_every_design_of_full_size_is_on_the_page():
    named = set(re.findall(r"`(?:spikeloom compare )?((?:table|figure)[\w-]+)`", TEXT))
    figures = ("2a", "2b", "3a", "3b", "4", "10", "11")
    assert named == {"table1", "table2", "table3", "table3-cifar10", *(f"figure{number}" for number in figures)}
