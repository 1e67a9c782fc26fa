"""One call from a configuration to a comparison of neurons, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.registry import find_preset
from pipeline.runs.run_folder import default_out
from preprocess.default_cache_folder import default_cache
from preprocess.errors import ConfigError
from preprocess.terminal.progress import Progress
from tune.comparison.comparison_defaults import DEFAULT_BUDGET, DEFAULT_SEEDS
from tune.comparison.comparison_plan import Tuning, compare_neurons
from tune.comparison.conclusions import excluded_lines
from tune.comparison.convergence.auto_epochs import auto_epochs
from tune.comparison.run_comparison import compare as run_comparison
from tune.comparison.tuning_per_neuron import tuning_space
from tune.resources.where_trials_run import ExecutionOptions


@dataclass(frozen=True)
class NeuronDifference:
    """The accuracy of one neuron minus that of the baseline, over the seeds that both have; fractions.

    Attributes:
        neuron: The name of the neuron.
        baseline: The name of the baseline, which is the first neuron.
        mean: Mean over seeds; None if no seed has runs of both.
        interval: 95 % interval by Student's t over seeds; None with fewer than two seeds.
        p: p-value of the sign-flip test over seeds, not corrected for other differences.
        p_adjusted: p-value after Holm's correction over all differences of the comparison.
        by_seed: The difference for each seed.
        verdict: equivalent, different or not decided, by the declared margin; None without a margin or a difference.
    """

    neuron: str
    baseline: str
    mean: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_adjusted: float | None
    by_seed: dict[int, float]
    verdict: str | None = None


@dataclass(frozen=True)
class ComparisonResult:
    """The result of a comparison.

    Attributes:
        folder: The folder, with table.md, table.csv, results.csv and figures/; see also `load_results` and `report`.
        differences: One difference for each neuron but the first.
        sentences: The conclusions in plain sentences; first the warning that runs had not converged, if so.
        converged: Whether every finished run had converged (`pipeline.analysis.convergence_rule`).
    """

    folder: Path
    differences: tuple[NeuronDifference, ...]
    sentences: tuple[str, ...]
    converged: bool = False


def compare(
    config: RunConfig | str,
    neurons: Sequence[str] = ("lif", "clif"),
    *,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    out: Path | str | None = None,
    cache: Path | str | None = None,
    selection: str = "last",
    fairness: Literal["equal", "tau-grid", "equal-budget"] = "equal",
    budget: int = DEFAULT_BUDGET,
    epochs: Literal["auto"] | None = None,
    max_epochs: int | None = None,
    margin: float | None = None,
    address: str | None = None,
    storage: str | None = None,
    progress: Progress | None = None,
) -> ComparisonResult:
    """Train the same network with each neuron and several seeds, and compare them, as ``spikeloom compare`` does.

    Repeating the call with the same `out` runs only what is missing; further seeds and neurons extend the comparison.

    Args:
        config: A configuration, or the name of a preset.
        neurons: Two or more; the others are compared with the first.
        seeds: The number of runs of each neuron, with seeds that follow the configuration's, or the seeds themselves.
        out: The comparison's folder; the first free ``./runs/compare-<name>-<n>`` if None.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        selection: How the evaluated epoch is selected; "last" trains on all training samples.
        fairness: The tuning protocol; see ``spikeloom compare --help``.
        budget: Number of trials per neuron for fairness "equal-budget".
        epochs: "auto" doubles the epochs of all runs, from the configuration's number on, until all have converged.
        max_epochs: The largest number of epochs for "auto"; 8 times the configuration's if None.
        margin: The largest difference that does not matter, a fraction, declared before the first run.
        address: Address of a Ray cluster, ``host:port`` or ``auto``; this machine if None.
        storage: A path that all machines share, or a URL, for checkpoints.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        ConfigError: If a neuron or the split does not exist, the tuning does not fit, or the margin or the maximum of
            epochs is out of range.
        RunError: If the folder contains another comparison, is in use, or no run was completed.
        CacheError: If there is no event store.
        ClusterError: If Ray does not start, or the cluster does not answer.
    """
    if isinstance(neurons, str):
        names = ", ".join(repr(name.strip()) for name in neurons.split(","))
        raise ConfigError(f"neurons: expected a list of names, found the text '{neurons}'. Write: [{names}]")
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
    if margin is not None and not 0 < margin < 1:
        raise ConfigError(f"margin: expected a fraction between 0 and 1, found {margin}. Half a point is 0.005")
    if max_epochs is not None and epochs is None:
        raise ConfigError(f"max_epochs: expected epochs='auto' with it, found max_epochs={max_epochs} alone")
    asked = replace(asked, margin=margin, auto=auto_epochs(asked, max_epochs) if epochs == "auto" else None)
    options = ExecutionOptions(address, storage=storage)
    conclusion = run_comparison(asked, folder, place=options, progress=progress)
    differences = tuple(
        NeuronDifference(
            difference.arm.neuron,
            difference.minus.neuron,
            sum(difference.values) / len(difference.values) if difference.values else None,
            difference.interval,
            difference.p,
            conclusion.adjusted(result, difference),
            difference.by_seed,
            None if (judged := conclusion.margin_verdict(result, difference)) is None else judged.decision,
        )
        for result, difference in conclusion.differences
    )
    said = (*conclusion.statements(), *excluded_lines(conclusion.errors))
    return ComparisonResult(folder, differences, said, converged=conclusion.converged)
