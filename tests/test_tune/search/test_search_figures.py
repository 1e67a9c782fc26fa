"""The figures of a search: complete trials only, and what the data are."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tune.search.search_figures import write_figures

FIELDS = ("binning.timesteps", "neuron.tau", "neuron.name")


def row(timesteps: int, tau: float, neuron: str, status: str = "done", accuracy: float | None = 0.5) -> dict[str, Any]:
    values = dict(zip(FIELDS, (timesteps, tau, neuron), strict=True))
    return values | {"status": status, "seed": 1, "validation_accuracy": accuracy, "energy_uj": None}


def words_of(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """A grid whose best by far was pruned."""
    grid = itertools.product((4, 8), (1.5, 2.0), ("lif", "clif"))
    rows = [row(*values, accuracy=0.6 + k / 100) for k, values in enumerate(grid)]
    rows[0] = row(4, 1.5, "lif", "pruned", 0.99)
    rows[1] = row(4, 1.5, "clif", "failed", None)
    return rows


def test_heat_map_shows_the_best_of_each_cell_and_why_others_are_empty(tmp_path: Path, rows: list[dict[str, Any]]):
    write_figures(tmp_path, [*rows, row(8, 2.0, "lif", accuracy=0.75)], FIELDS, "tiny (emulated data)")
    words = words_of(tmp_path / "tau-timesteps.svg")
    assert {"62.0", "63.0", "64.0", "65.0", "75.0", "67.0", "pruned", "failed"} <= set(words)
    assert not {"66.0", "99.0"} & set(words)
    assert "tiny (emulated data)" in words
    assert (tmp_path / "tau-timesteps.png").stat().st_size > 5000


def test_accuracy_counts_the_complete_trials_and_names_fields_and_neurons(tmp_path: Path, rows: list[dict[str, Any]]):
    write_figures(tmp_path, rows, FIELDS, "tiny (emulated data)")
    words = words_of(tmp_path / "accuracy.svg")
    assert "6 complete of 8 trials; lines: the best" in words
    assert {"tiny (emulated data)", "T", "tau", "lif", "clif", "validation accuracy, %"} <= set(words)


def test_fields_of_every_kind_are_drawn(tmp_path: Path):
    """Words, none, and more values than have room on an axis."""
    rows = [
        row(4, 1.1 + k / 10, "lif", accuracy=k / 30)
        | {"network.head": ("paper", "gap")[k % 2], "input.size": (None, 16)[k % 2]}
        | {"optimiser.learning_rate": 10.0**-k}
        for k in range(15)
    ]
    fields = ("neuron.tau", "network.head", "input.size", "optimiser.learning_rate")
    write_figures(tmp_path, rows, fields[1:], "tiny")
    words = words_of(tmp_path / "accuracy.svg")
    assert {"paper", "gap", "none", "16", "network.head"} <= set(words)
    assert not (tmp_path / "tau-timesteps.svg").exists()
    write_figures(tmp_path, rows, ("binning.timesteps", *fields), "tiny")
    assert (tmp_path / "tau-timesteps.svg").exists()


def test_nothing_is_drawn_without_a_complete_trial(tmp_path: Path):
    write_figures(tmp_path / "figures", [row(4, 2.0, "lif", "pruned"), row(4, 3.0, "lif", "waiting", None)], FIELDS, "")
    assert not (tmp_path / "figures").exists()
