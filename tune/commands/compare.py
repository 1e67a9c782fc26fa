"""spikeloom compare: train the same network with different neurons and compare their accuracy, paired by seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tyro

from pipeline.commands.config_arguments import (
    ConfiguredArguments,
    absolute_class,
    given_fields,
    parse_configured,
    refuse_beside_resume,
)
from pipeline.config.run_config import RunConfig, flatten, override
from pipeline.runs.run_folder import default_out
from preprocess.default_cache_folder import default_cache
from preprocess.errors import ConfigError
from preprocess.interrupts import Terminated
from preprocess.nearest_name import nearest_name
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.progress import progress_on_stderr
from tune.comparison.comparison_defaults import DEFAULT_BUDGET, DEFAULT_SEEDS, SPEED_AT
from tune.resources.where_trials_run import ExecutionOptions
from tune.space.named_spaces import NEURONS

if TYPE_CHECKING:
    from tune.comparison.arms import Arm, Setting
    from tune.comparison.comparison_plan import Comparison
    from tune.comparison.designs.design import Design

PROG = "spikeloom compare"
# The options that a resumed comparison accepts: none of them changes what is compared.
_BESIDE_RESUME = frozenset({"--accept-changed-code", "--address", "--storage"})


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Train the same network with different neurons and compare their test accuracy, paired by seed.

    PRESET can also be the name of a predefined experiment design, such as controls-small or table3-small (see --list).
    Within a seed all neurons share initial weights, shuffling, augmentation and settings. With an existing --out, only
    what is new is trained: add --seeds or --neurons to extend a comparison. Unless --selection or the design says
    otherwise, runs train on all training samples, the last epoch is used, and each run is tested once.

    Example: spikeloom compare n-mnist-small --neurons lif clif --seeds 6
    """

    MAIN_OPTIONS: ClassVar[tuple[str, ...]] = (
        "neurons",
        "seeds",
        "over",
        "fairness",
        "epochs",
        "max_epochs",
        "margin",
        "list",
        "schedule.epochs",
        "config",
        "cache",
        "out",
        "resume",
    )

    neurons: tuple[str, ...] = ()
    """Neurons to compare; the first is the baseline (default: lif clif, or those of the design). With an existing
    --out, a single neuron is added to that comparison."""
    seeds: int | None = None
    """Number of seeds per neuron: --seed, --seed + 1, ... (default: 5, or the number that the design defines)."""
    over: tuple[str, ...] = ()
    """Repeat the comparison for each value: field=a,b,c, such as binning.timesteps=4,8,16. Several fields give the
    Cartesian product."""
    also: tuple[str, ...] = ()
    """Further presets, for example of other data sets, for which the comparison is repeated."""
    fairness: Literal["equal", "tau-grid", "equal-budget"] = "equal"
    """Tuning protocol. equal: the same settings for all neurons. tau-grid: search tau for each neuron first, from 1.1
    to 3. equal-budget: search tau and learning rate for each neuron first, with --budget trials. Searches use
    validation samples only."""
    budget: int | None = None
    """Number of trials per neuron and setting for --fairness equal-budget (default: 8)."""
    epochs: Literal["auto"] | None = None
    """auto: double the epochs of all runs, from --schedule.epochs on, until every run has converged; whether it has is
    decided by its training alone. Small designs declare this with a maximum of their own, unless --schedule.epochs is
    given alone."""
    max_epochs: int | None = None
    """Largest number of epochs for --epochs auto (default: 8 times --schedule.epochs, or that of the design)."""
    margin: float | None = None
    """Largest difference that does not matter, in percentage points, declared before the first run. The verdict is then
    equivalent within the margin (two one-sided tests), different, or not decided."""
    speed_at: float = 100 * SPEED_AT
    """Training accuracy in per cent at which the speed of learning is compared."""
    list: bool = False
    """List the designs and exit."""
    resume: Path | None = None
    """Continue the comparison in this folder."""
    accept_changed_code: bool = False
    """Continue although a custom neuron or network file has changed since the first runs; basis.json, the affected
    runs and the tables record it."""
    address: str | None = None
    """Address of a Ray cluster, host:port or auto (default: run on this machine). See spikeloom cluster."""
    storage: str | None = None
    """Where checkpoints are stored: a path that all machines share, or a URL such as s3://bucket/path."""
    given: tyro.conf.Suppress[frozenset[str]] = frozenset()
    """The field paths that the command line names, whether or not their values differ from the preset's."""


def run(argv: list[str]) -> None:
    """Run what is missing, then print the tables and the conclusions."""
    arguments = parse_arguments(argv)
    if arguments.list:
        from tune.comparison.designs.registry import list_table

        list_table().print()
        return
    comparison, folder = _resumed(arguments, argv) if arguments.resume else _started(arguments)
    from tune.comparison.comparison_plan import FILE
    from tune.comparison.comparison_tables import accuracy_table, difference_table, seed_table
    from tune.comparison.conclusions import excluded_lines
    from tune.comparison.convergence.convergence_table import convergence_table
    from tune.comparison.run_comparison import compare
    from tune.resources.storage_settings import with_kept_storage
    from tune.trials.custom_code import check_folder_code

    check_folder_code(folder, accept=arguments.accept_changed_code)
    place = with_kept_storage(folder, ExecutionOptions(arguments.address, storage=arguments.storage))
    try:
        conclusion = compare(comparison, folder, place=place, progress=progress_on_stderr())
    except (KeyboardInterrupt, Terminated):
        if (folder / FILE).exists():
            progress_on_stderr().note(f"Finished runs are kept. Continue with: {place.resume('compare', folder)}")
        raise
    accuracy_table(conclusion).print()
    if len(conclusion.results) == 1:
        seed_table(conclusion, conclusion.results[0]).print()
    difference_table(conclusion).print()
    convergence_table(conclusion).print()
    for sentence in (*conclusion.statements(), *excluded_lines(conclusion.errors)):
        print(sentence)
    print(f"Results are in {folder}: table.md, table.csv, convergence.csv, results.csv and figures/.")
    print(f"For one page with all of them: spikeloom report {folder}")


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """The arguments of a command line.

    Raises:
        UsageError: If they do not fit the command.
        ConfigError: If the preset or file is unknown, or the configuration is invalid.
    """
    from pipeline.presets.registry import PRESETS
    from tune.comparison.designs.registry import DESIGNS

    if argv and not argv[0].startswith("-") and argv[0] not in {*PRESETS, *DESIGNS}:
        near = nearest_name(argv[0], [*PRESETS, *DESIGNS])
        hint = f"Did you mean '{near}'? " if near else ""
        raise ConfigError(
            f"PRESET: expected a preset or a design, found '{argv[0]}'. {hint}List them: spikeloom presets, "
            f"{PROG} --list"
        )
    others = {name: design.config for name, design in DESIGNS.items()}
    arguments = parse_configured(Arguments, argv, prog=PROG, others=others)
    return replace(arguments, given=frozenset(given_fields(argv)))


def plan_comparison(arguments: Arguments) -> Comparison:
    """The comparison that the arguments describe; nothing is trained, written or printed.

    Raises:
        UsageError: If arguments contradict each other.
        ConfigError: If a design, preset or configuration is unknown or invalid.
    """
    from tune.comparison.comparison_plan import Comparison, Tuning
    from tune.comparison.convergence.auto_epochs import auto_epochs
    from tune.comparison.tuning_per_neuron import tuning_space

    design = _design(arguments)
    _refuse(arguments, design)
    config = arguments.fields
    if design is None and "selection" not in arguments.given:
        config = override(config, {"selection": "last"})
    count = arguments.seeds or (design.seeds if design else DEFAULT_SEEDS)
    space = tuning_space(arguments.fairness, config.optimiser.learning_rate)
    trials = (arguments.budget or DEFAULT_BUDGET) if arguments.fairness == "equal-budget" else None
    comparison = Comparison(
        arguments.label,
        _settings(arguments, design, config),
        _arms(arguments, design),
        tuple(range(config.seed, config.seed + count)),
        default_cache(arguments.cache),
        Tuning(space, trials),
        margin=None if arguments.margin is None else arguments.margin / 100,
        speed_at=arguments.speed_at / 100,
    )
    most = design.most_epochs if design is not None and arguments.max_epochs is None else arguments.max_epochs
    if arguments.epochs is None and not _declares_auto(arguments, design):
        return comparison
    return replace(comparison, auto=auto_epochs(comparison, most))


def _declares_auto(arguments: Arguments, design: Design | None) -> bool:
    """Whether the design has its epochs doubled; a number of epochs on the command line is meant as it stands."""
    return design is not None and design.most_epochs is not None and "schedule.epochs" not in arguments.given


def _design(arguments: Arguments) -> Design | None:
    from tune.comparison.designs.registry import DESIGNS, find_design

    return find_design(arguments.preset) if arguments.preset in DESIGNS else None


def _started(arguments: Arguments) -> tuple[Comparison, Path]:
    """A comparison that begins or is extended, and its folder."""
    comparison = plan_comparison(arguments)
    design = _design(arguments)
    if design is not None and design.needs:
        progress_on_stderr().note(f"{design.name}: needs {design.needs}")
    if design is not None and (left_out := _left_out(design, comparison)) and not _is_extended(arguments):
        quoted = " ".join(f"'{name}'" for name in left_out)
        progress_on_stderr().note(f"{design.name}: --neurons leaves out {quoted}; name them there to include them")
    return comparison, default_out(arguments.out, "compare", arguments.label)


def _left_out(design: Design, comparison: Comparison) -> list[str]:
    """The design's arms that --neurons does not name; plain neurons aside, whose absence is obvious."""
    names = {arm.name for arm in comparison.arms}
    return [arm.name for arm in design.arms if arm.name not in names and arm.name != arm.neuron]


def _arms(arguments: Arguments, design: Design | None) -> tuple[Arm, ...]:
    """The arms that --neurons names, in the design's version if it has one; by default all arms of the design."""
    from tune.comparison.arms import neuron_arm

    if design is not None and not arguments.neurons:
        return design.arms
    own = {arm.name: arm for arm in design.arms} if design else {}
    names = [name if name in own else absolute_class(name) for name in arguments.neurons or NEURONS]
    return tuple(own.get(name) or neuron_arm(name) for name in names)


def _refuse(arguments: Arguments, design: Design | None) -> None:
    errors = []
    if "neuron.name" in arguments.given:
        errors.append("--neuron.name: expected no value, because --neurons names the neurons. Leave it out.")
    if arguments.preset is None and arguments.config is None:
        errors.append(
            "expected a preset, a design or --config, found none of them. List presets: spikeloom presets; designs: "
            f"{PROG} --list"
        )
    neurons = arguments.neurons or NEURONS
    if len(neurons) < (1 if _is_extended(arguments) else 2) or len(set(neurons)) < len(neurons):
        errors.append(
            f"--neurons: expected two or more different neurons, found: {' '.join(neurons)}. A single neuron can only "
            "be added to an existing comparison, which --out names."
        )
    if arguments.seeds is not None and arguments.seeds < 1:
        errors.append(f"--seeds: expected at least 1, found {arguments.seeds}")
    if arguments.budget is not None and arguments.budget < 1:
        errors.append(f"--budget: expected at least 1, found {arguments.budget}")
    if arguments.budget is not None and arguments.fairness != "equal-budget":
        errors.append(
            f"--budget: expected --fairness equal-budget, found --fairness {arguments.fairness}. Leave --budget out, "
            "or change --fairness."
        )
    if arguments.max_epochs is not None and arguments.epochs is None and not _declares_auto(arguments, design):
        errors.append(
            f"--max-epochs: expected --epochs auto with it, found --max-epochs {arguments.max_epochs} alone. "
            "For a fixed number of epochs: --schedule.epochs"
        )
    if arguments.margin is not None and not 0 < arguments.margin < 100:
        errors.append(
            f"--margin: expected percentage points between 0 and 100, found {arguments.margin:g}. Such as: --margin 0.5"
        )
    if not 0 < arguments.speed_at <= 100:
        errors.append(f"--speed-at: expected more than 0 and at most 100 per cent, found {arguments.speed_at:g}")
    if design is not None and (arguments.over or arguments.also):
        errors.append(
            f"--over, --also: expected neither, because the design {design.name} defines its own settings. Leave them "
            "out, or compare a preset."
        )
    own = {path for path in arguments.given if design is not None and path in design.own_fields}
    errors += [
        f"--{path}: expected no value, because {arguments.preset} sets it in each of its settings. Leave it out."
        for path in sorted(own)
    ]
    if errors:
        raise UsageError(*errors)


def _is_extended(arguments: Arguments) -> bool:
    """Whether --out has a comparison already, to which one neuron may be added."""
    from tune.comparison.comparison_plan import FILE

    return arguments.out is not None and (arguments.out.expanduser() / FILE).is_file()


def _settings(arguments: Arguments, design: Design | None, config: RunConfig) -> tuple[Setting, ...]:
    """The settings in which the arms are compared; a field on the command line applies to all of them."""
    from pipeline.presets.registry import find_preset
    from tune.comparison.arms import Setting
    from tune.comparison.designs.design import make_settings

    given = arguments.given
    if design is not None:
        return design.settings(_changes(design.config, config, given))
    axes = _axes(arguments.over, config)
    if not axes and not arguments.also:
        return (Setting("", config),)
    bases = {arguments.label: config}
    first = find_preset(arguments.preset).config if arguments.preset else config
    # All settings of a table use the same selection, also if the presets differ.
    changes = {**_changes(first, config, given), "selection": config.selection}
    bases |= {name: override(find_preset(name).config, changes) for name in arguments.also}
    _refuse_other_splits(bases)
    return make_settings(bases, axes, {})


def _refuse_other_splits(bases: Mapping[str, RunConfig]) -> None:
    """Refuse presets of one data set with different splits; different data sets may have different splits."""
    first: dict[str, str] = {}
    for name, config in bases.items():
        known = first.setdefault(config.dataset.name, name)
        theirs, ours = bases[known].dataset.split, config.dataset.split
        if theirs != ours:
            raise UsageError(
                f"--also {name}: expected the split of {known}, {theirs}, found {ours}. Results on different test "
                f"samples cannot be compared. Use one split for both: --dataset.split {theirs}"
            )


def _changes(base: RunConfig, config: RunConfig, given: Collection[str]) -> dict[str, Any]:
    """The fields that are given or differ from the base; without the neuron and the seed, which each run sets."""
    theirs, ours = flatten(base), flatten(config)
    changed = {path for path in ours if path in given or ours[path] != theirs[path]} - {"neuron.name", "seed"}
    return {path: ours[path] for path in ours if path in changed}


def _axes(entries: Sequence[str], config: RunConfig) -> Mapping[str, Sequence[Any]]:
    """The entries of --over as field path to values."""
    from tune.space.dimensions import Choice
    from tune.space.parser import FORMS
    from tune.space.space import parse_space

    if not entries:
        return {}
    _refuse_axes([entry.partition("=")[0].strip() for entry in entries])
    try:
        space = parse_space(entries, config)
    except ConfigError as error:
        # A comparison has a few listed values, not a range to draw from.
        errors = (message.replace("--space", "--over").replace(FORMS, "field=a,b,c") for message in error.errors)
        raise UsageError(*errors) from None
    axes: dict[str, Sequence[Any]] = {}
    for dimension in space.dimensions:
        if not isinstance(dimension, Choice):
            raise UsageError(
                f"--over {dimension.path}: expected a list of values, found a range. Write its values, such as "
                "binning.timesteps=4,8"
            )
        axes[dimension.path] = dimension.values
    return axes


def _refuse_axes(paths: Sequence[str]) -> None:
    """Refuse fields in which settings may not differ; a search refuses them for reasons of its own."""
    from pipeline.config.run_config import PLACE_FIELDS
    from tune.space.parser import SCORED_ON

    errors = []
    for path in paths:
        if path in ("seed", "neuron.name"):
            errors.append(
                f"--over {path}: expected another field, because seeds and neurons have options of their own. Use "
                "--seeds and --neurons."
            )
        elif path in PLACE_FIELDS:
            errors.append(
                f"--over {path}: expected a field that affects the results of a run, found one that only affects where "
                f"it runs. Set it for the whole comparison: --{path}"
            )
        elif path in SCORED_ON:
            errors.append(
                f"--over {path}: expected a field that leaves the evaluated samples as they are, because accuracies on "
                f"different samples cannot be compared. Make a comparison for each value: --{path} VALUE --out DIR. "
                "Splits of one kind can be repeated (--over dataset.fold=... or dataset.split_seed=...), and another "
                "data set added (--also PRESET)."
            )
    if errors:
        raise UsageError(*errors)


def _resumed(arguments: Arguments, argv: Sequence[str]) -> tuple[Comparison, Path]:
    """The comparison as its folder records it; no other option may change it."""
    from pipeline.config.registrations import require_registered
    from tune.comparison.comparison_plan import read_comparison

    assert arguments.resume is not None
    refuse_beside_resume(argv, _BESIDE_RESUME, next_step=f"To change it, start a new comparison: {PROG} --help")
    folder = arguments.resume.expanduser().absolute()
    comparison = read_comparison(folder)
    require_registered(folder, comparison.configs())
    return comparison, folder
