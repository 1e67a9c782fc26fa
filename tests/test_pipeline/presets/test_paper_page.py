"""docs/paper.md has every row of the paper's tables and figures, as the presets and designs have it."""

from __future__ import annotations

import functools
import re
import shlex

import torch

from benchmarks import paper_rows
from benchmarks.paper_rows import HEADS, Row
from benchmarks.paper_table import BEGIN, END, PAGE, describe, work
from pipeline.commands.config_arguments import given_fields
from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import override
from pipeline.cost.operations import count_run_operations
from pipeline.data.input_encoding import input_size
from pipeline.networks import build_network
from pipeline.presets.paper import TAUS
from pipeline.presets.registry import PRESETS
from preprocess.datasets.registry import find_published
from tune.comparison.designs.registry import DESIGNS

TEXT = PAGE.read_text("utf-8")
LINES = TEXT.partition(BEGIN)[2].partition(END)[0].splitlines()
COMPUTED = {HEADS.index("memory"), HEADS.index("work")}


@functools.cache
def rows() -> list[Row]:
    """Made once."""
    return paper_rows.rows()


def cells(line: str) -> list[str]:
    return line.strip("| ").split(" | ")


def test_the_table_has_a_line_for_each_row_as_the_presets_have_it():
    assert cells(LINES[0]) == list(HEADS)
    found = [[cell for number, cell in enumerate(cells(line)) if number not in COMPUTED] for line in LINES[2:]]
    expected = [[cell for number, cell in enumerate(row.cells("", "")) if number not in COMPUTED] for row in rows()]
    assert found == expected, "run: python -m benchmarks.paper_table"


def test_every_printed_accuracy_of_a_preset_is_on_the_page():
    shown = set()
    for row in rows():
        numbers = [number.strip(" *") for number in row.accuracy.split(" / ")]
        names = [row.command.split()[1].replace("<τ>", f"{tau:g}") for tau in TAUS] if len(numbers) > 1 else [None]
        shown |= {(name, row.neuron, number) for name, number in zip(names, numbers, strict=True) if name is not None}
        if row.command.startswith("train") and len(numbers) == 1:
            shown.add((row.command.split()[1], row.neuron, *numbers))
    for preset in PRESETS.values():
        if preset.paper is not None:
            for part in preset.paper.split(", "):
                assert (preset.name, *part.split(" ")) in shown


def test_commands_set_what_the_row_says():
    for row in rows():
        if not row.command.startswith("train"):
            continue
        name, *words = shlex.split(row.command.removeprefix("train ").replace("<τ>", f"{TAUS[0]:g}"))
        assert given_fields(words) == ({"neuron.name"} if words else set())
        config = override(PRESETS[name].config, {"neuron.name": words[-1]} if words else {})
        assert row.configs == (config,)
        assert NEURONS[config.neuron.name].traits.label == row.neuron


def test_figures_have_the_runs_of_their_designs():
    """All of them, in one of its data sets each; an exchanged neuron trains as long as the others."""
    for name in ("figure2a", "figure2b", "figure3a", "figure3b", "figure10", "figure11"):
        found = [row for row in rows() if row.command == f"compare {name}"]
        design = DESIGNS[name]
        expected = len(design.settings({})) * len(design.arms) * design.seeds
        assert sum(len(row.configs) for row in found) == expected and len(found) == len(design.presets)
        assert all(config.schedule.last_epoch == config.schedule.epochs for row in found for config in row.configs)


def test_rows_without_a_command_name_the_method_that_spikeloom_lacks():
    found = [row for row in rows() if not row.command]
    assert len(found) == 11 and all(row.source == "Table 1" and not row.configs for row in found)
    for row in found:
        method = row.status.removeprefix("quoted by the paper; another training method, ")
        assert method != row.status and f"\n- **{method}**" in TEXT


def test_the_cost_of_a_comparison_is_the_largest_memory_and_all_work():
    assert describe([(2 * 10**9, 3 * 10**15), (10**9, 8 * 10**16)]) == ("2.0 GB", "2 runs, 83 PFLOP")
    assert describe([(10**9, 10**18)]) == ("1.0 GB", "1,000 PFLOP") and describe([]) == ("–", "–")


def _computed_work(row: Row, macs: dict[str, tuple[int, int]]) -> str:
    """FLOPs of the run: 2 for each MAC, thrice for a training step, once for all time steps where they are the same."""
    (config,) = row.configs
    form = find_published(config.dataset.name)
    assert form is not None and form.train is not None
    size = input_size(config.input, *config.binning.size(form.height, form.width))
    key = repr((config.network, size, form.classes, config.input.static, row.neuron == "ReLU"))
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
        if not row.command.startswith("train") or row.neuron not in ("LIF", "CLIF"):
            continue
        (config,) = row.configs
        if not config.input.static or config.grad_steps is not None:
            continue
        assert cells(line)[HEADS.index("work")] == _computed_work(row, macs), row.command
        checked += 1
    assert checked > 15 and all(once > 0 for _, once in macs.values())


def test_every_design_of_full_size_is_on_the_page():
    named = set(re.findall(r"`(?:spikeloom compare )?((?:table|figure)[\w-]+)`", TEXT))
    figures = ("2a", "2b", "3a", "3b", "4", "10", "11")
    assert named == {
        "table1",
        "table1-aug",
        "table2",
        "table3",
        "table3-cifar10",
        *(f"figure{number}" for number in figures),
        "figure10-events",
        "figure11-events",
    }
