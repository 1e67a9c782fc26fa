"""spikeloom tune: a search over T, tau, the neuron and any other field."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from pipeline.commands.config_arguments import ConfiguredArguments, parse_configured, refuse_beside_resume
from pipeline.runs.run_folder import default_out
from preprocess.default_cache_folder import default_cache
from preprocess.interrupts import Terminated
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.plural import counted
from preprocess.terminal.progress import progress_on_stderr
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.options import DEFAULT_FINAL_SEEDS, DEFAULT_SAMPLES, SearchOptions
from tune.search.registry import SEARCH_METHODS
from tune.trials.experiment_trackers import tracker_callbacks, tracker_errors

if TYPE_CHECKING:
    from tune.search.final_runs import Final
    from tune.search.search_findings import Findings
    from tune.search.search_plan import Search

PROG = "spikeloom tune"
# Options that may differ when a search is resumed.
_BESIDE_RESUME = frozenset(
    {
        "--accept-changed-code",
        "--address",
        "--concurrent",
        "--cpus-per-trial",
        "--gpus-per-trial",
        "--hours",
        "--log",
        "--storage",
    }
)


def _list_methods() -> str:
    """The help of --search: what each method does."""
    methods = (f"{method.name}: {method.summary}" for method in SEARCH_METHODS.values())
    return f"Search method. {'; '.join(methods)}."


def _describe_samples() -> str:
    """The help of --samples: its default."""
    population = SEARCH_METHODS["pbt"].default_samples
    return (
        f"Maximum number of configurations (default: {DEFAULT_SAMPLES}; PBT: population of {population}). Smaller "
        "spaces are searched exhaustively. For grid search: the whole grid, or a random subset of this size."
    )


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Search for the best T, tau and neuron, or any other fields, by validation accuracy; then test the best once.

    Trials run in parallel within the CPUs, GPUs and memory of one machine or a cluster. Poor trials are stopped early,
    each compared only with trials of the same neuron, binning and seed. At the end the best configuration is retrained
    on the training and validation samples with several seeds, and tested. It is also written to best.json, for
    spikeloom train --config.

    Example: spikeloom tune n-mnist-small --samples 8

    With another space: spikeloom tune n-mnist-small --space neuron.tau=1.1:4:log optimiser.learning_rate=0.03,0.1,0.3

    Accuracy against energy: spikeloom tune n-mnist-small --search tpe --objectives accuracy sparse-energy

    Resume an interrupted search: spikeloom tune --resume runs/tune-n-mnist-small-1
    """

    MAIN_OPTIONS: ClassVar[tuple[str, ...]] = (
        "space",
        "search",
        "samples",
        "objectives",
        "hours",
        "concurrent",
        "schedule.epochs",
        "config",
        "cache",
        "out",
        "resume",
    )

    space: tuple[str, ...] = ("timesteps-tau-neuron",)
    """Named spaces (timesteps-tau-neuron, table3, training, everything), files with one entry per line, and fields:
    field=a,b,c or field=lo:hi or field=lo:hi:log; append :N for N evenly spaced values. Append a condition to search a
    field only for some values of another: 'neuron.tau=1.5:4 if neuron.name=lif,plif'. An explicit field overrides a
    named space."""
    search: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(SEARCH_METHODS)}}}", help=_list_methods())] = "random"
    samples: Annotated[int | None, tyro.conf.arg(help=_describe_samples())] = None
    scheduler: Literal["asha", "none"] | None = None
    """asha stops poor trials early; none trains every trial to the end. Default: asha; none with pbt, --repeats or
    several objectives."""
    repeats: int = 1
    """Runs per configuration, with seeds --seed, --seed + 1, ...; configurations are ranked by their mean."""
    objectives: tuple[str, ...] = ("accuracy",)
    """What to optimise: accuracy, alone or with others, which give a Pareto front: energy (rule of Table 6),
    sparse-energy (zero inputs cost nothing), memory-energy (with memory accesses), timesteps, firing-rate, or
    NeuroBench's effective-macs, effective-acs, activation-sparsity, connection-sparsity and footprint."""
    interval: int | None = None
    """PBT only: epochs after which poor members continue from better ones. Default: a tenth of all epochs."""
    final_seeds: int = DEFAULT_FINAL_SEEDS
    """Number of seeds for the final evaluation, in which the best configuration is retrained and tested. With 0 the
    test set is not used."""
    hours: float | None = None
    """Time limit in hours, including the final evaluation. When it is reached, no new trials start and running trials
    stop at the next epoch; continue with --resume."""
    concurrent: int | None = None
    """Number of trials that run in parallel. Default: as many as CPUs, GPUs and memory allow, measured with one step of
    the most expensive trial."""
    cpus_per_trial: int | None = None
    """CPUs, and therefore threads, per trial."""
    gpus_per_trial: float | None = None
    """Fraction of a GPU per trial, such as 0.5; with 0 trials run on CPUs."""
    storage: str | None = None
    """Where checkpoints are kept: a path that all machines share, or a URL such as s3://bucket/path. Default: the
    search's folder; machines without access to it send their files there."""
    log: tuple[str, ...] = ()
    """Also log trials to mlflow or wandb. TensorBoard files are always written to each trial's folder."""
    resume: Path | None = None
    """Resume the search in this folder: finished trials are kept, interrupted ones continue."""
    accept_changed_code: bool = False
    """Resume although a custom neuron or network file has changed since the first trials. The changes are recorded in
    basis.json, in the affected trials and in the printed result."""
    address: str | None = None
    """Ray cluster to run on: host:port, or auto. Default: this machine. See spikeloom cluster."""

    def search_options(self) -> SearchOptions:
        """The options of the search."""
        return SearchOptions(
            space=self.space,
            method=self.search,
            samples=self.samples,
            scheduler=self.scheduler,
            repeats=self.repeats,
            objectives=self.objectives,
            interval=self.interval,
            final_seeds=self.final_seeds,
        )

    def execution(self) -> ExecutionOptions:
        """Where and how long trials run."""
        return ExecutionOptions(
            address=self.address,
            request=ResourceRequest(self.concurrent, self.cpus_per_trial, self.gpus_per_trial),
            hours=self.hours,
            storage=self.storage,
        )


def run(argv: list[str]) -> None:
    """Run the trials that are missing, shown on stderr; then print the best ones and the final evaluation."""
    arguments = parse_configured(Arguments, argv, prog=PROG)
    execution = arguments.execution()
    errors = [*execution.errors(), *tracker_errors(arguments.log)]
    if errors:
        raise UsageError(*errors)
    search, folder = _resumed(arguments, argv) if arguments.resume is not None else _started(arguments)
    from tune.cluster.ray_session import RaySession
    from tune.resources.storage_settings import with_kept_storage
    from tune.search.final_runs import run_final
    from tune.search.run_search import run_search
    from tune.search.start_notes import search_notes
    from tune.trials.custom_code import check_folder_code

    check_folder_code(folder, accept=arguments.accept_changed_code)
    execution = with_kept_storage(folder, execution)
    resume, progress, began = execution.resume("tune", folder), progress_on_stderr(), time.monotonic()
    progress.note(f"{counted(search.runs, 'trial')} on {search.about}, in {folder}")
    for line in search_notes(search, folder):
        progress.note(line)
    final = None
    try:
        callbacks = tracker_callbacks(arguments.log, search.name, search.fields, folder) if arguments.log else []
        with RaySession() as session:
            findings = run_search(
                search, folder, execution=execution, callbacks=callbacks, progress=progress, session=session
            )
            if findings.complete:
                left = execution.after(time.monotonic() - began)
                final = run_final(findings, folder, execution=left, progress=progress, session=session)
    except (KeyboardInterrupt, Terminated):
        progress.note(f"finished trials are kept. Resume with: {resume}")
        raise
    _print(findings, final, folder, resume)


def _print(findings: Findings, final: Final | None, folder: Path, resume: str) -> None:
    findings.table().print()
    for sentence in (*findings.sentences(), *findings.failures()):
        print(sentence)
    if final is not None:
        print(final.sentence())
    if not findings.complete or (final is not None and not final.complete):
        left = "runs of the final evaluation" if findings.complete else "trials"
        print(f"The time limit was reached with {left} left to run. Resume with: {resume}")
        return
    print(f"Results: {folder}/results.csv, epochs.csv, best.json, figures/. As a page: spikeloom report {folder}")
    print(f"Train the best configuration again: spikeloom train --config {folder}/best.json")


def _started(arguments: Arguments) -> tuple[Search, Path]:
    from tune.search.search_plan import plan_search

    if arguments.preset is None and arguments.config is None:
        raise UsageError("expected a preset or --config, found neither. List presets: spikeloom presets")
    config = arguments.fields
    if config.selection != "validation":
        progress_on_stderr().note(
            f"selection: trials are ranked on validation samples, not by '{config.selection}' as configured"
        )
    folder = default_out(arguments.out, "tune", arguments.label)
    return plan_search(arguments.label, config, arguments.search_options(), default_cache(arguments.cache)), folder


def _resumed(arguments: Arguments, argv: list[str]) -> tuple[Search, Path]:
    """The plan of the folder; only options that say where and how long trials run may be given with it."""
    from pipeline.config.registrations import require_registered
    from tune.search.search_plan import read_search

    assert arguments.resume is not None
    refuse_beside_resume(argv, _BESIDE_RESUME, next_step=f"To change it, start a new search: {PROG} --help")
    folder = arguments.resume.expanduser().absolute()
    search = read_search(folder)
    require_registered(folder, search.configs())
    return search, folder
