"""spikeloom compare: the same runs with one neuron and another, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import ConfiguredArguments, absolute_class, parse_configured
from pipeline.config import override
from preprocess.command_line import Terminated, UsageError, default_cache, default_out
from preprocess.progress import progress_on_stderr
from tune.place import Place

if TYPE_CHECKING:
    from tune.comparison import Comparison

PROG = "spikeloom compare"


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Train the same network with one neuron and another: same first weights, same order of data, same settings.

    Runs are paired by seed and kept by what they compute: more --seeds or --neurons into the same --out run only what
    is new. Unless --selection says otherwise, all training samples train, the last epoch counts, and each run opens
    the test samples once.

    Example: spikeloom compare n-mnist-small --neurons lif clif --seeds 6
    """

    neurons: tuple[str, ...] = ("lif", "clif")
    """The others are compared with the first."""
    seeds: int = 5
    """Runs of each neuron: seeds --seed, --seed + 1, ..."""
    resume: Path | None = None
    """Continue this comparison instead."""
    address: str | None = None
    """host:port of a Ray cluster, or auto; this machine if not given. See spikeloom cluster."""
    storage: str | None = None
    """A path that all machines share, or a URL such as s3://bucket/path, for checkpoints."""


def run(words: list[str]) -> None:
    """Run what is missing, then print the table and what it shows."""
    arguments = parse_configured(Arguments, words, prog=PROG)
    comparison, folder = _resumed(arguments, words) if arguments.resume else _started(arguments, words)
    from tune.compare import compare, missing_lines

    try:
        verdict = compare(
            comparison, folder, place=Place(arguments.address, storage=arguments.storage), progress=progress_on_stderr()
        )
    except (KeyboardInterrupt, Terminated):
        progress_on_stderr().note(f"finished runs are kept; go on with: spikeloom compare --resume {folder}")
        raise
    verdict.table().print()
    verdict.seed_table().print()
    for sentence in (*verdict.sentences(), *missing_lines(verdict)):
        print(sentence)
    print(f"Written: {folder}/table.md, table.csv, results.csv, figures/. As a page: spikeloom report {folder}")


def _started(arguments: Arguments, words: Sequence[str]) -> tuple[Comparison, Path]:
    from tune.comparison import Comparison

    faults = []
    if arguments.preset is None and arguments.config is None:
        faults.append("expected a preset or --config, found neither. List presets: spikeloom presets")
    if len(arguments.neurons) < 2 or len(set(arguments.neurons)) < len(arguments.neurons):
        found = " ".join(arguments.neurons) or "none"
        faults.append(f"--neurons: expected two or more different neurons, found: {found}")
    if arguments.seeds < 1:
        faults.append(f"--seeds: expected at least 1, found {arguments.seeds}")
    if faults:
        raise UsageError(*faults)
    config = arguments.fields
    if not any(word.partition("=")[0] == "--selection" for word in words):
        config = override(config, {"selection": "last"})
    seeds = tuple(range(config.seed, config.seed + arguments.seeds))
    cache = default_cache(arguments.cache)
    folder = default_out(arguments.out, "compare", arguments.label)
    neurons = tuple(map(absolute_class, arguments.neurons))
    return Comparison(arguments.label, config, neurons, seeds, cache), folder


def _resumed(arguments: Arguments, words: Sequence[str]) -> tuple[Comparison, Path]:
    """What the folder was asked for; no other word may change it."""
    from tune.comparison import read_comparison

    assert arguments.resume is not None
    names = {word.partition("=")[0] for word in words if word.startswith("--")}
    if arguments.preset is not None or names - {"--resume", "--address", "--storage"}:
        found = " ".join(words)
        raise UsageError(
            f"--resume: expected no other word than --address and --storage, found: {found}. See: {PROG} --help"
        )
    folder = arguments.resume.expanduser().absolute()
    return read_comparison(folder), folder
