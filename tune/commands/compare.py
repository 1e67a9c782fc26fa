"""spikeloom compare: the same runs with one neuron and another, paired by seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.commands.config_arguments import ConfiguredArguments, absolute_class, parse_configured
from pipeline.config.run_config import RunConfig, field_paths, flatten, override
from preprocess.errors import ConfigError
from preprocess.interrupts import Terminated
from preprocess.paths import default_cache, default_out
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.progress import progress_on_stderr
from tune.resources.execution_options import ExecutionOptions
from tune.space.named_spaces import NEURONS

if TYPE_CHECKING:
    from tune.comparison.arms import Arm, Setting
    from tune.comparison.designs import Design
    from tune.comparison.plan import Comparison

PROG = "spikeloom compare"
_SEEDS = 5
# What a resumed comparison may do otherwise than it began.
_RESUME_FLAGS = frozenset({"--resume", "--accept-changed-code", "--address", "--storage"})


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Train the same network with one neuron and another: same first weights, same order of data, same settings.

    In a preset's place stands a design: a comparison of many settings that has a name, such as controls-small or
    table3-small (--list). Runs are paired by seed and kept by what they compute: more --seeds or --neurons into the
    same --out run only what is new. Unless --selection says otherwise, all training samples train, the last epoch
    counts, and each run opens the test samples once.

    Example: spikeloom compare n-mnist-small --neurons lif clif --seeds 6
    """

    neurons: tuple[str, ...] = ()
    """The others are compared with the first; lif and clif, or the design's own, if not given. One alone joins those
    that the comparison in --out has."""
    seeds: int | None = None
    """Runs of each neuron: seeds --seed, --seed + 1, ...; 5, or the design's own, if not given."""
    over: tuple[str, ...] = ()
    """Settings beside each other: field=a,b,c, such as binning.timesteps=4,8,16; several words make their product."""
    also: tuple[str, ...] = ()
    """More presets, other data sets say, beside the first."""
    fairness: Literal["equal", "tau-grid", "equal-budget"] = "equal"
    """equal: the same settings for all neurons; tau-grid: tau is searched for each neuron first, from 1.1 to 3;
    equal-budget: tau and learning rate are searched for each with --budget trials. On validation samples."""
    budget: int = 8
    """Trials of each neuron in each setting, of --fairness equal-budget."""
    list: bool = False
    """List the designs instead."""
    resume: Path | None = None
    """Continue this comparison instead."""
    accept_changed_code: bool = False
    """Continue although a neuron or network file of your own changed since the first runs; basis.json, the affected
    runs and the tables list it."""
    address: str | None = None
    """host:port of a Ray cluster, or auto; this machine if not given. See spikeloom cluster."""
    storage: str | None = None
    """A path that all machines share, or a URL such as s3://bucket/path, for checkpoints."""


def run(words: list[str]) -> None:
    """Run what is missing, then print the tables and what they show."""
    from tune.comparison.designs import DESIGNS, list_table

    # A design that cannot run yet is known by its name, and refused with its reason.
    others = {name: design.config if design.presets else RunConfig() for name, design in DESIGNS.items()}
    arguments = parse_configured(Arguments, words, prog=PROG, others=others)
    if arguments.list:
        list_table().print()
        return
    comparison, folder = _resumed(arguments, words) if arguments.resume else _started(arguments, words)
    from tune.comparison.conclusions import missing_lines
    from tune.comparison.run_comparison import compare
    from tune.comparison.tables import accuracy_table, difference_table, seed_table
    from tune.resources.storage_settings import with_kept_storage
    from tune.trials.code_changes import check_folder_code

    check_folder_code(folder, accept=arguments.accept_changed_code)
    place = with_kept_storage(folder, ExecutionOptions(arguments.address, storage=arguments.storage))
    try:
        conclusion = compare(comparison, folder, place=place, progress=progress_on_stderr())
    except (KeyboardInterrupt, Terminated):
        progress_on_stderr().note(f"finished runs are kept; go on with: {place.resume('compare', folder)}")
        raise
    accuracy_table(conclusion).print()
    if len(conclusion.verdicts) == 1:
        seed_table(conclusion, conclusion.verdicts[0]).print()
    difference_table(conclusion).print()
    for sentence in (*conclusion.sentences(), *missing_lines(conclusion.errors)):
        print(sentence)
    print(f"Written: {folder}/table.md, table.csv, results.csv, figures/. As a page: spikeloom report {folder}")


def _started(arguments: Arguments, words: Sequence[str]) -> tuple[Comparison, Path]:
    from tune.comparison.designs import DESIGNS, find_design
    from tune.comparison.plan import Comparison, Tuning
    from tune.comparison.tuning import tuning_space

    design = find_design(arguments.preset) if arguments.preset in DESIGNS else None
    _refuse(arguments, design, _given(words))
    config = arguments.fields
    if design is None and not any(word.partition("=")[0] == "--selection" for word in words):
        config = override(config, {"selection": "last"})
    count = arguments.seeds or (design.seeds if design else _SEEDS)
    space = tuning_space(arguments.fairness, config.optimiser.learning_rate)
    comparison = Comparison(
        arguments.label,
        _settings(arguments, design, config, _given(words)),
        _arms(arguments, design),
        tuple(range(config.seed, config.seed + count)),
        default_cache(arguments.cache),
        Tuning(space, arguments.budget if arguments.fairness == "equal-budget" else None),
    )
    return comparison, default_out(arguments.out, "compare", arguments.label)


def _arms(arguments: Arguments, design: Design | None) -> tuple[Arm, ...]:
    """Those that are named, the design's own where it has them; a design's arms that are left out are told."""
    from tune.comparison.arms import neuron_arm

    if design is not None and not arguments.neurons:
        return design.arms
    own = {arm.name: arm for arm in design.arms} if design else {}
    names = [name if name in own else absolute_class(name) for name in arguments.neurons or NEURONS]
    # Whoever names neurons leaves out neurons; of these it is not plain that they were there.
    left = [name for name, arm in own.items() if name not in names and name != arm.neuron]
    if design is not None and left and not _goes_on(arguments):
        quoted = " ".join(f"'{name}'" for name in left)
        progress_on_stderr().note(f"{design.name}: its own {quoted} not asked for; --neurons takes them by these names")
    return tuple(own.get(name) or neuron_arm(name) for name in names)


def _refuse(arguments: Arguments, design: Design | None, given: Collection[str]) -> None:
    errors = []
    if "neuron.name" in given:
        errors.append("--neuron.name: expected none, because --neurons names them. Leave it out.")
    if arguments.preset is None and arguments.config is None:
        errors.append(
            "expected a preset, a design or --config, found none of them. List presets: spikeloom presets; designs: "
            f"{PROG} --list"
        )
    neurons = arguments.neurons or NEURONS
    if len(neurons) < (1 if _goes_on(arguments) else 2) or len(set(neurons)) < len(neurons):
        errors.append(
            f"--neurons: expected two or more different neurons, found: {' '.join(neurons)}. One alone joins a "
            "comparison that --out holds."
        )
    if arguments.seeds is not None and arguments.seeds < 1:
        errors.append(f"--seeds: expected at least 1, found {arguments.seeds}")
    if arguments.budget < 1:
        errors.append(f"--budget: expected at least 1, found {arguments.budget}")
    if arguments.budget != Arguments.budget and arguments.fairness != "equal-budget":
        errors.append(f"--budget: is for --fairness equal-budget, found {arguments.fairness}")
    if design is not None and (arguments.over or arguments.also):
        errors.append(f"--over, --also: {design.name} has settings of its own. Compare a preset for others.")
    own = {path for path in given if design is not None and path in design.own_fields}
    errors += [f"--{path}: {arguments.preset} sets it in each of its settings. Leave it out." for path in sorted(own)]
    if errors:
        raise UsageError(*errors)


def _goes_on(arguments: Arguments) -> bool:
    """Whether the folder holds a comparison, to which one neuron may be added."""
    from tune.comparison.plan import FILE

    return arguments.out is not None and (arguments.out.expanduser() / FILE).is_file()


def _given(words: Sequence[str]) -> set[str]:
    """The field paths that the command line names."""
    named = {word.removeprefix("--").partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    return named & field_paths().keys()


def _settings(
    arguments: Arguments, design: Design | None, config: RunConfig, given: Collection[str]
) -> tuple[Setting, ...]:
    """Where the arms are measured; what the command line names it sets in all of them."""
    from pipeline.presets.registry import find_preset
    from tune.comparison.arms import Setting
    from tune.comparison.designs import make_settings

    if design is not None:
        return design.settings(_changes(design.config, config, given))
    axes = _axes(arguments.over, config)
    if not axes and not arguments.also:
        return (Setting("", config),)
    bases = {arguments.label: config}
    first = find_preset(arguments.preset).config if arguments.preset else config
    # One table has one selection, whatever each preset's own is.
    changes = {**_changes(first, config, given), "selection": config.selection}
    bases |= {name: override(find_preset(name).config, changes) for name in arguments.also}
    _refuse_other_splits(bases)
    return make_settings(bases, axes, {})


def _refuse_other_splits(bases: Mapping[str, RunConfig]) -> None:
    """Of one data set; every data set has splits of its own."""
    first: dict[str, str] = {}
    for name, config in bases.items():
        known = first.setdefault(config.dataset.name, name)
        theirs, ours = bases[known].dataset.split, config.dataset.split
        if theirs != ours:
            raise UsageError(
                f"--also {name}: expected the split of {known}, {theirs}, found {ours}: other test samples do not "
                f"compare. Give one to both: --dataset.split {theirs}"
            )


def _changes(base: RunConfig, config: RunConfig, given: Collection[str]) -> dict[str, Any]:
    """What is given, or set otherwise than in the base; not the neuron and the seed, of which each run has its own."""
    theirs, ours = flatten(base), flatten(config)
    changed = {path for path in ours if path in given or ours[path] != theirs[path]} - {"neuron.name", "seed"}
    return {path: ours[path] for path in ours if path in changed}


def _axes(words: Sequence[str], config: RunConfig) -> Mapping[str, Sequence[Any]]:
    """The words of --over as field path to values."""
    from tune.space.dimensions import Choice
    from tune.space.space import parse_space

    if not words:
        return {}
    try:
        space = parse_space(words, config)
    except ConfigError as error:
        raise UsageError(*(message.replace("--space", "--over") for message in error.errors)) from None
    axes: dict[str, Sequence[Any]] = {}
    for dimension in space.dimensions:
        if not isinstance(dimension, Choice) or dimension.path in ("seed", "neuron.name"):
            raise UsageError(
                f"--over {dimension.path}: expected a list of values, such as binning.timesteps=4,8; seeds and neurons "
                "have --seeds and --neurons"
            )
        axes[dimension.path] = dimension.values
    return axes


def _resumed(arguments: Arguments, words: Sequence[str]) -> tuple[Comparison, Path]:
    """What the folder was asked for; no other word may change it."""
    from tune.comparison.plan import read_comparison

    assert arguments.resume is not None
    names = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    if arguments.preset is not None or names - _RESUME_FLAGS:
        found = " ".join(words)
        raise UsageError(
            f"--resume: expected no other word than {', '.join(sorted(_RESUME_FLAGS - {'--resume'}))}, found: {found}. "
            f"See: {PROG} --help"
        )
    folder = arguments.resume.expanduser().absolute()
    return read_comparison(folder), folder
