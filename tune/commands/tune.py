"""spikeloom tune: a search over T, tau, neuron and any other field."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.commands.config_arguments import ConfiguredArguments, parse_configured
from preprocess.interrupts import Terminated
from preprocess.paths import default_cache, default_out
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.progress import progress_on_stderr
from tune.resources.allocation import ResourceRequest
from tune.resources.execution_options import ExecutionOptions
from tune.search.options import SearchOptions
from tune.trials.trackers import tracker_callbacks, tracker_errors

if TYPE_CHECKING:
    from tune.search.plan import Search

PROG = "spikeloom tune"
# What a resumed search may do otherwise than it began.
_PLACE_WORDS = frozenset(
    {
        "--resume",
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


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Search for the best T, tau and neuron, or any other fields, by validation accuracy; then test the choice once.

    Trials run in parallel within the CPUs, GPUs and memory of a machine or a cluster. Poor ones are stopped early, but
    only in favour of others of the same neuron and binning, and so T. At the end the best is trained anew on all
    training samples, over several seeds, and tested; it is also written where train --config takes it.

    Example: spikeloom tune n-mnist-small --samples 8

    With another space: spikeloom tune n-mnist-small --space neuron.tau=1.1:4:log optimiser.learning_rate=0.03,0.1,0.3

    Accuracy against energy: spikeloom tune n-mnist-small --search tpe --objectives accuracy energy

    Go on with an interrupted search: spikeloom tune --resume runs/tune-n-mnist-small-1
    """

    space: tuple[str, ...] = ("timesteps-tau-neuron",)
    """Named spaces (timesteps-tau-neuron, table3, training, everything), files of words (one a line), and fields:
    field=a,b,c, field=lo:hi, field=lo:hi:log; lo:hi:N and lo:hi:log:N are N values. Behind it, where it is searched:
    'neuron.tau=1.5:4 if neuron.name=lif,plif'. A field's own word goes before a named space's."""
    search: Literal["random", "grid", "tpe", "pbt"] = "random"
    """random: a Latin hypercube; grid: every combination; tpe: each trial follows from those before (Optuna); pbt: a
    population that trains side by side, poor members go on from better ones (training settings only)."""
    samples: int | None = None
    """Configurations at most, 24 if not given; a smaller space is tried in full. Of grid all, or so many,
    spread over it by the seed; of pbt 8 members."""
    scheduler: Literal["asha", "none"] | None = None
    """asha stops poor trials early; none trains all of them to the end, and is what pbt, repeats and several objectives
    take."""
    repeats: int = 1
    """Runs of every configuration, with seeds --seed, --seed + 1, ...; ranked by their mean."""
    objectives: tuple[str, ...] = ("accuracy",)
    """accuracy, and with it energy, timesteps or firing-rate: then the trials have a Pareto front."""
    interval: int | None = None
    """Of pbt: epochs until poor members go on from better ones; a tenth of all if not given."""
    final_seeds: int = 3
    """How often the best is trained anew and tested; 0 leaves the test samples closed."""
    hours: float | None = None
    """Time for this session, the choice's test among it: then no trial starts, running ones stop at an epoch's end, and
    --resume goes on."""
    concurrent: int | None = None
    """Trials at once, which share the machine; if not given, as many as its CPUs or GPUs and its memory are for."""
    cpus_per_trial: int | None = None
    """CPUs, and so threads, of each trial."""
    gpus_per_trial: float | None = None
    """Share of a GPU of each trial, such as 0.5; 0 computes on CPUs."""
    storage: str | None = None
    """A path that all machines share, or a URL such as s3://bucket/path, for checkpoints; if not given they are in the
    search's folder, where machines that do not see it send them."""
    log: tuple[str, ...] = ()
    """mlflow, wandb: trials are shown there, too. TensorBoard's events are in every trial's folder anyway."""
    resume: Path | None = None
    """Go on with the search of this folder: finished trials are kept, interrupted ones continue."""
    accept_changed_code: bool = False
    """Resume although a neuron or network file of your own changed since the first trials; basis.json, the affected
    trials and the printed result list it."""
    address: str | None = None
    """host:port of a Ray cluster, or auto; this machine if not given. See spikeloom cluster."""

    def words(self) -> SearchOptions:
        """How to search."""
        return SearchOptions(
            self.space,
            self.search,
            self.samples,
            self.scheduler,
            self.repeats,
            self.objectives,
            self.interval,
            self.final_seeds,
        )

    def execution(self) -> ExecutionOptions:
        """Where and how long."""
        return ExecutionOptions(
            self.address,
            ResourceRequest(self.concurrent, self.cpus_per_trial, self.gpus_per_trial),
            self.hours,
            self.storage,
        )


def run(words: list[str]) -> None:
    """Run what is missing, with the trials on stderr, then print the best of them and what it came to."""
    arguments = parse_configured(Arguments, words, prog=PROG)
    execution = arguments.execution()
    errors = [*execution.errors(), *tracker_errors(arguments.log)]
    if errors:
        raise UsageError(*errors)
    search, folder = _resumed(arguments, words) if arguments.resume is not None else _started(arguments)
    from tune.cluster.ray_session import one_ray
    from tune.resources.storage_settings import with_kept_storage
    from tune.search.final_test import run_final
    from tune.search.notes import search_notes
    from tune.search.run_search import run_search
    from tune.trials.code_changes import check_folder_code

    check_folder_code(folder, accept=arguments.accept_changed_code)
    execution = with_kept_storage(folder, execution)
    resume, progress, begun = execution.resume("tune", folder), progress_on_stderr(), time.monotonic()
    progress.note(f"{search.runs} trials of {search.about}, in {folder}")
    for line in search_notes(search, folder):
        progress.note(line)
    try:
        callbacks = tracker_callbacks(arguments.log, search.name, search.fields, folder) if arguments.log else []
        with one_ray():
            findings = run_search(search, folder, execution=execution, callbacks=callbacks, progress=progress)
            left = execution.after(time.monotonic() - begun)
            final = run_final(findings, folder, execution=left, progress=progress) if findings.complete else None
    except (KeyboardInterrupt, Terminated):
        progress.note(f"finished trials are kept. Go on: {resume}")
        raise
    findings.table().print()
    for sentence in (*findings.sentences(), *findings.failures()):
        print(sentence)
    if final is not None:
        print(final.sentence())
    if not findings.complete or (final is not None and not final.complete):
        what = "seeds of the choice" if findings.complete else "trials"
        print(f"The time is up, and {what} are left. Go on: {resume}")
        return
    print(f"Written: {folder}/results.csv, epochs.csv, best.json, figures/. As a page: spikeloom report {folder}")
    print(f"Train the best again: spikeloom train --config {folder}/best.json")


def _started(arguments: Arguments) -> tuple[Search, Path]:
    from tune.search.plan import plan_search

    if arguments.preset is None and arguments.config is None:
        raise UsageError("expected a preset or --config, found neither. List presets: spikeloom presets")
    config = arguments.fields
    if config.selection != "validation":
        progress_on_stderr().note(
            f"selection: a search ranks its trials on validation samples, not by '{config.selection}' as the "
            "configuration has it"
        )
    folder = default_out(arguments.out, "tune", arguments.label)
    return plan_search(arguments.label, config, arguments.words(), default_cache(arguments.cache)), folder


def _resumed(arguments: Arguments, words: Sequence[str]) -> tuple[Search, Path]:
    """What the folder was asked for; no other word may change it."""
    from tune.search.plan import read_search

    assert arguments.resume is not None
    names = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    if arguments.preset is not None or names - _PLACE_WORDS:
        allowed = ", ".join(sorted(_PLACE_WORDS - {"--resume"}))
        raise UsageError(
            f"--resume: expected no other words than {allowed}, found: {' '.join(words)}. See: {PROG} --help"
        )
    folder = arguments.resume.expanduser().absolute()
    return read_search(folder), folder
