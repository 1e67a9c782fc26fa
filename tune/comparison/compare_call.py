"""One call from a configuration to a comparison of neurons, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.registry import find_preset
from preprocess.default_folders import default_cache, default_out
from preprocess.errors import ConfigError
from preprocess.terminal.progress import Progress
from tune.comparison.conclusions import excluded_lines
from tune.comparison.plan import Tuning, compare_neurons
from tune.comparison.run_comparison import compare as run_comparison
from tune.comparison.tuning import tuning_space
from tune.resources.execution_options import ExecutionOptions


@dataclass(frozen=True)
class NeuronDifference:
    """The accuracy of one neuron minus that of the first, over the seeds that both have; fractions.

    Attributes:
        neuron: The later one.
        baseline: The first one.
        mean: Over seeds; None where no seed has both runs.
        interval: 95 %, by Student's t over seeds; None with fewer than two seeds.
        p: Of the exact sign-flip test over seeds, not corrected for other differences.
        p_adjusted: After Holm's correction over all differences of the comparison.
        by_seed: Each seed's difference.
    """

    neuron: str
    baseline: str
    mean: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_adjusted: float | None
    by_seed: dict[int, float]


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison shows.

    Attributes:
        folder: With table.md, table.csv, results.csv and figures/; see also `load_results` and `report`.
        differences: One for each neuron but the first.
        sentences: What the data do and do not show, for people.
    """

    folder: Path
    differences: tuple[NeuronDifference, ...]
    sentences: tuple[str, ...]


def compare(
    config: RunConfig | str,
    neurons: Sequence[str] = ("lif", "clif"),
    *,
    seeds: int | Sequence[int] = 5,
    out: Path | str | None = None,
    cache: Path | str | None = None,
    selection: str = "last",
    fairness: Literal["equal", "tau-grid", "equal-budget"] = "equal",
    budget: int = 8,
    address: str | None = None,
    storage: str | None = None,
    progress: Progress | None = None,
) -> ComparisonResult:
    """Train the same network with each neuron and several seeds, and compare; the same as ``spikeloom compare``.

    Repeating the call with the same `out` runs only what is missing; more seeds or neurons are added to what is there.

    Args:
        config: A configuration, or the name of a preset.
        neurons: Two or more; the others are compared with the first.
        seeds: The number of runs of each neuron, with seeds that follow the configuration's, or the seeds themselves.
        out: The comparison's folder; the first free ``./runs/compare-<name>-<n>`` if None.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        selection: Which epoch counts; last trains on all training samples.
        fairness: Whether the settings of each neuron are tuned first; see ``spikeloom compare --help``.
        budget: Trials of each neuron for fairness equal-budget.
        address: Of a Ray cluster, ``host:port`` or ``auto``; this machine if None.
        storage: A path that all machines share, or a URL, for checkpoints.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        ConfigError: If a neuron or the split does not exist, or the tuning does not fit.
        RunError: If the folder contains another comparison, is in use, or no run was completed.
        CacheError: If there is no event store.
        ClusterError: If Ray does not start, or the cluster does not answer.
    """
    if len(neurons) < 2 or len(set(neurons)) < len(neurons):
        raise ConfigError(f"neurons: expected two or more different neurons, found: {' '.join(neurons) or 'none'}")
    name = config if isinstance(config, str) else config.dataset.name
    chosen = override(find_preset(config).config if isinstance(config, str) else config, {"selection": selection})
    numbers = range(chosen.seed, chosen.seed + seeds) if isinstance(seeds, int) else seeds
    if not numbers:
        raise ConfigError("seeds: expected at least one, found none")
    folder = default_out(None if out is None else Path(out), "compare", name)
    asked = compare_neurons(name, chosen, neurons, numbers, default_cache(None if cache is None else Path(cache)))
    space = tuning_space(fairness, chosen.optimiser.learning_rate)
    asked = replace(asked, tuning=Tuning(space, budget if fairness == "equal-budget" else None))
    options = ExecutionOptions(address, storage=storage)
    conclusion = run_comparison(asked, folder, place=options, progress=progress)
    differences = tuple(
        NeuronDifference(
            difference.arm.neuron,
            difference.minus.neuron,
            sum(difference.values) / len(difference.values) if difference.values else None,
            difference.interval,
            difference.p,
            conclusion.adjusted(verdict, difference),
            difference.by_seed,
        )
        for verdict, difference in conclusion.differences
    )
    said = (*conclusion.sentences(), *excluded_lines(conclusion.errors))
    return ComparisonResult(folder, differences, said)
