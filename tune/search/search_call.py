"""One call from a configuration, or an objective of your own, to a finished search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.registry import find_preset
from pipeline.runs.run_folder import default_out
from preprocess.default_cache_folder import default_cache
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.progress import Progress
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.options import DEFAULT_SAMPLES, SearchOptions
from tune.space.named_spaces import DEFAULT_SPACE
from tune.space.space_values import SpaceValues, space_texts
from tune.trials.search_result import SearchResult

if TYPE_CHECKING:
    from tune.objective.objective_search import Objective


def search(
    config: RunConfig | str | None = None,
    space: str | Sequence[str] | Mapping[str, SpaceValues] = DEFAULT_SPACE,
    *,
    objective: Objective | None = None,
    out: Path | str | None = None,
    cache: Path | str | None = None,
    method: str = "random",
    samples: int | None = None,
    scheduler: Literal["asha", "none"] | None = None,
    repeats: int = 1,
    objectives: Sequence[str] = ("accuracy",),
    final_seeds: int = 0,
    mode: Literal["max", "min"] = "max",
    epochs: int | None = None,
    seed: int = 0,
    address: str | None = None,
    storage: str | None = None,
    hours: float | None = None,
    concurrent: int | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search for the best values of fields of a configuration, as ``spikeloom tune`` does, or of a custom objective.

    Repeating the call with the same `out` resumes the search: finished trials are kept, and the others run.

    Args:
        config: The configuration that all trials share, or the name of a preset; None with an `objective`.
        space: Values by field path, such as ``{"neuron.tau": "1.5:4:log", "neuron.name": ["lif", "clif"]}``, or entries
            of ``spikeloom tune --space``. For an objective, values by any names.
        objective: A function of a dict of values and a callable `report`, which it calls once per epoch with a score:
            ``def objective(values, report): ... report(accuracy)``. See `tune.objective.objective_search`.
        out: The search's folder; the first free ``./runs/tune-<name>-<n>`` if None.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None. Not used by an objective.
        method: random, grid, tpe or pbt; random or grid for an objective.
        samples: Maximum number of configurations; if None, `tune.search.options.DEFAULT_SAMPLES`, or the complete grid
            for method grid.
        scheduler: "asha" stops poor trials early, "none" does not; None uses asha if the other options allow it.
        repeats: Number of runs of each configuration, with different seeds. Only for a configuration.
        objectives: The objectives by which trials are ranked: accuracy and others. Only for a configuration.
        final_seeds: Number of seeds with which the selected configuration is retrained on all training samples and
            tested. Only for a configuration.
        mode: Whether the objective's score is maximised ("max") or minimised ("min").
        epochs: The number of reports of a complete trial; required for scheduler asha with an objective.
        seed: Seed of the values drawn for an objective; a configuration has its own seed.
        address: Address of a Ray cluster, ``host:port`` or ``auto``; this machine if None.
        storage: A path that all machines share, or a URL, for checkpoints of runs.
        hours: Time limit in hours, after which no trial starts.
        concurrent: Number of trials that run in parallel; as many as CPUs, GPUs and memory allow if None.
        cpus_per_trial: Number of CPUs per trial.
        gpus_per_trial: Number of GPUs per trial, or a fraction such as 0.5.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        ConfigError: With every error of the space and the options.
        RunError: If the folder contains something else, or no trial was completed.
        CacheError: If the event store does not exist.
        ClusterError: If Ray does not start, or the cluster does not answer.
    """
    options = ExecutionOptions(address, ResourceRequest(concurrent, cpus_per_trial, gpus_per_trial), hours, storage)
    if errors := list(options.errors()):
        raise ConfigError(*errors)
    if config is not None and not isinstance(config, RunConfig | str):
        hint = " Pass a function as objective=." if callable(config) else ""
        raise ConfigError(f"config: expected a RunConfig or the name of a preset, found {config!r}.{hint}")
    if (config is None) == (objective is None):
        found = "neither" if config is None else "both"
        raise ConfigError(f"search: expected either a configuration or an objective, found {found}. Give one of them.")
    where = None if out is None else Path(out)
    if objective is not None:
        from tune.objective.objective_search import ObjectiveSearch, search_objective

        if not callable(objective):
            raise ConfigError(f"objective: expected a function of values and report, found {objective!r}")
        _only_with(
            "a configuration",
            "an objective",
            cache=(cache, None),
            repeats=(repeats, 1),
            objectives=(tuple(objectives), ("accuracy",)),
            final_seeds=(final_seeds, 0),
            storage=(storage, None),
        )
        if samples is None and method != "grid":
            samples = DEFAULT_SAMPLES
        plan = ObjectiveSearch.of(objective, space, method, samples, scheduler, mode, epochs, seed)
        folder = default_out(where, "tune", plan.name)
        return search_objective(plan, objective, folder, execution=options, progress=progress)
    assert config is not None
    _only_with("an objective", "a configuration", mode=(mode, "max"), epochs=(epochs, None), seed=(seed, 0))
    name = config if isinstance(config, str) else config.dataset.name
    chosen = find_preset(config).config if isinstance(config, str) else config
    how = SearchOptions(
        space_entries(space), method, samples, scheduler, repeats, tuple(objectives), final_seeds=final_seeds
    )
    folder = default_out(where, "tune", name)
    caches = default_cache(None if cache is None else Path(cache))
    return _search_config(name, chosen, how, folder, caches, options, progress)


def _only_with(kind: str, other: str, **options: tuple[object, object]) -> None:
    """Refuse options of another kind of search; each is given with its value and its default."""
    if errors := [
        f"{name}: expected only with {kind}, found {value!r} with {other}. Leave it out."
        for name, (value, default) in options.items()
        if value != default
    ]:
        raise ConfigError(*errors)


def space_entries(space: str | Sequence[str] | Mapping[str, SpaceValues]) -> tuple[str, ...]:
    """Convert a space to entries of ``--space``; ConfigError if it is none."""
    if isinstance(space, str):
        return (space,)
    if isinstance(space, Mapping):
        return tuple(f"{path}={values}" for path, values in space_texts(space).items())
    if not isinstance(space, Sequence) or not all(isinstance(entry, str) for entry in space):
        raise ConfigError(
            'space: expected values by field, such as {"neuron.tau": "1.5:4"}, or entries of --space, found '
            f"{space!r}"
        )
    return tuple(space)


def _search_config(
    name: str,
    config: RunConfig,
    how: SearchOptions,
    folder: Path,
    cache: Path,
    options: ExecutionOptions,
    progress: Progress | None,
) -> SearchResult:
    from tune.cluster.ray_session import ray_running
    from tune.search.final_runs import run_final
    from tune.search.run_search import run_search
    from tune.search.search_plan import plan_search

    asked = plan_search(name, config, how, cache)
    final = None
    # One Ray for the search and its final evaluation: it takes seconds to start.
    with ray_running(options.address, options.resume("tune", folder)) if how.final_seeds else nullcontext():
        findings = run_search(asked, folder, execution=options, progress=progress)
        if findings.complete:
            final = run_final(findings, folder, execution=options, progress=progress)
    if not findings.ranked:
        raise RunError(f"{folder}: expected a complete trial, found none before the time limit. Call it again.")
    best = findings.ranked[0]
    values = {path: best[path] for path in findings.search.fields}
    changes = {path: value for path, value in values.items() if value is not None}
    return SearchResult(
        folder,
        findings.complete and (final is None or final.complete),
        values,
        float(best["validation_accuracy"]),
        override(findings.search.config, changes),
        findings.ranked,
        () if final is None else final.accuracies,
    )
