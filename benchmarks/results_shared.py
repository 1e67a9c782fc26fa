"""Which runs the pages of docs/results have in common: the same configuration, with the same result on both pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.config.run_config import fingerprint
from tune.comparison.comparison_plan import Comparison
from tune.comparison.designs.design import Design
from tune.comparison.designs.registry import DESIGNS
from tune.comparison.number_cells import MISSING

# The table of `benchmarks.results_page.counts_table`, and the number of epochs in the line "Converged".
_COUNTS = re.compile(r"^## [^\n]*Correct test samples by seed[^\n]*\n\n((?:\|[^\n]*\n)+)", re.MULTILINE)
_EPOCHS = re.compile(r"after (\d+) epochs")
_SEED = "seed "

Run = tuple[str, str, str]
"""A configuration's fingerprint, the page's number of epochs, and its count of correct test samples."""


def shared_runs(pages: Mapping[str, str]) -> dict[str, str]:
    """By page, on which others its runs are, such as "all 21 with table2-small; 6 with a-a-small"; a dash for none.

    Args:
        pages: The texts of pages by the name of their design.
    """
    runs = {name: _runs(text, DESIGNS[name]) for name, text in pages.items()}
    return {name: _others(name, runs) for name in pages}


def _others(name: str, runs: Mapping[str, frozenset[Run]]) -> str:
    by_count: dict[int, list[str]] = {}
    for other, theirs in runs.items():
        if other != name and (common := len(runs[name] & theirs)):
            by_count.setdefault(common, []).append(other)
    groups = sorted(by_count.items(), reverse=True)
    total = len(runs[name])
    cells = (f"{'all ' if count == total else ''}{count} with {', '.join(others)}" for count, others in groups)
    return "; ".join(cells) or "–"


def _runs(page: str, design: Design) -> frozenset[Run]:
    """The runs of a page that its design has; none if the design has other settings by now."""
    found, epochs = _COUNTS.search(page), _EPOCHS.search(page)
    if found is None or epochs is None:
        return frozenset()
    columns, _, *rows = (line.strip("| ").split(" | ") for line in found[1].splitlines())
    seeds = [int(column.removeprefix(_SEED)) for column in columns if column.startswith(_SEED)]
    planned = Comparison(design.name, design.settings({}), design.arms, tuple(seeds), Path())
    cells = {
        (setting.name or setting.config.dataset.name, arm.label): (setting, arm) for setting, arm in planned.cells()
    }
    return frozenset(
        (fingerprint(planned.config_of(*cells[place, neuron], seed)), epochs[1], count)
        for place, neuron, _, *counts in rows
        if (place, neuron) in cells
        for seed, count in zip(seeds, counts, strict=True)
        if count != MISSING
    )
