"""spikeloom tune: a search over T, tau, neuron and any other field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.command_line import ConfiguredArguments, parse_configured
from preprocess.command_line import Terminated, UsageError, default_cache, default_out
from preprocess.progress import progress_on_stderr

if TYPE_CHECKING:
    from tune.search_plan import Search

PROG = "spikeloom tune"
# What a resumed search may do otherwise than it began.
_PLACE_WORDS = frozenset({"--resume", "--address", "--concurrent"})


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Search for the best T, tau and neuron, or any other fields, by validation accuracy; test samples stay closed.

    Trials run in parallel within the machine's CPUs or GPUs. Poor ones are stopped early, but only in favour of others
    of the same neuron and T. The best configuration is written where train --config takes it.

    Example: spikeloom tune n-mnist-small --samples 8

    With another space: spikeloom tune n-mnist-small --space neuron.tau=1.1:4:log optimiser.learning_rate=0.03,0.1,0.3

    Go on with an interrupted search: spikeloom tune --resume runs/tune-n-mnist-small-1
    """

    space: tuple[str, ...] = ("timesteps-tau-neuron",)
    """Words: timesteps-tau-neuron, field=a,b,c, field=lo:hi or field=lo:hi:log, such as neuron.tau=1.5,2,4."""
    samples: int = 24
    """Trials at most; a smaller space is tried in full. They are drawn with --seed."""
    scheduler: Literal["asha", "none"] = "asha"
    """asha stops poor trials early; none trains all of them to the end."""
    concurrent: int | None = None
    """Trials at once, which share the machine; one a GPU, else one a CPU, if not given."""
    resume: Path | None = None
    """Go on with the search of this folder: finished trials are kept, interrupted ones continue."""
    address: str | None = None
    """host:port of a Ray cluster whose machines see the cache and --out at these paths; this machine if not given."""


def run(words: list[str]) -> None:
    """Run what is missing, with the trials on stderr, then print the best of them."""
    arguments = parse_configured(Arguments, words, prog=PROG)
    search, folder = _resumed(arguments, words) if arguments.resume is not None else _started(arguments)
    from tune.search import run_search

    progress = progress_on_stderr()
    progress.note(f"{len(search.trials)} trials of {search.about}, in {folder}")
    try:
        findings = run_search(
            search, folder, address=arguments.address, concurrent=arguments.concurrent, progress=progress
        )
    except (KeyboardInterrupt, Terminated):
        progress.note(f"finished trials are kept. Go on: {PROG} --resume {folder}")
        raise
    findings.table().print()
    for sentence in (*findings.sentences(), *findings.failures()):
        print(sentence)
    print(f"Written: {folder}/results.csv, epochs.csv, best.json, figures/. As a page: spikeloom report {folder}")
    print(f"Train the best and test it once: spikeloom train --config {folder}/best.json")


def _started(arguments: Arguments) -> tuple[Search, Path]:
    from tune.search_plan import plan_search

    faults = []
    if arguments.preset is None and arguments.config is None:
        faults.append("expected a preset or --config, found neither. List presets: spikeloom presets")
    for name in ("samples", "concurrent"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            faults.append(f"--{name}: expected at least 1, found {value}")
    if faults:
        raise UsageError(*faults)
    config = arguments.fields
    if config.selection != "validation":
        progress_on_stderr().note(
            f"selection: a search ranks its trials on validation samples, not by '{config.selection}' as the "
            "configuration has it"
        )
    folder = default_out(arguments.out, "tune", arguments.label)
    cache = default_cache(arguments.cache)
    search = plan_search(arguments.label, config, arguments.space, arguments.samples, arguments.scheduler, cache)
    return search, folder


def _resumed(arguments: Arguments, words: Sequence[str]) -> tuple[Search, Path]:
    """What the folder was asked for; no other word may change it."""
    from tune.search_plan import read_search

    assert arguments.resume is not None
    names = {word.partition("=")[0] for word in words if word.startswith("--")}
    if arguments.preset is not None or names - _PLACE_WORDS:
        raise UsageError(
            f"--resume: expected no other words than --address and --concurrent, found: {' '.join(words)}. "
            f"See: {PROG} --help"
        )
    folder = arguments.resume.expanduser().absolute()
    return read_search(folder), folder
