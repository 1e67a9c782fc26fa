"""The arguments that train, tune and compare share: a preset or a configuration file, and an option for every field.

PRESET is the first argument, if given; all others are options, which tyro parses.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import tyro

from pipeline.commands.configuration_help import print_help
from pipeline.config.inactive_fields import governors_of, inactive_fields, redundant_fields
from pipeline.config.nearest_field import nearest_field
from pipeline.config.run_config import RunConfig, field_paths, flatten, load_config, override
from pipeline.presets.registry import PRESETS, find_preset
from preprocess.terminal.command_line import UsageError, parse

# Fields that are not options, and the error message for each.
_NOT_OPTIONS = {
    "neuron.timesteps": (
        "expected no such option, because T is that of the frames, found one. Set --binning.timesteps instead"
    ),
}


@dataclass(frozen=True)
class ConfiguredArguments:
    """Base class of the arguments of a command that runs configurations; the command adds its own options."""

    MAIN_OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Paths of the options that `--help` shows, in this order; `--help-all` shows all. If empty, both show all."""

    preset: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PRESET")] = None
    """A named configuration; see: spikeloom presets."""
    config: Path | None = None
    """Read the configuration from this file instead of a preset: a run's config.json or a search's best.json."""
    cache: Path | None = None
    """Folder of all caches (default: $SPIKELOOM_CACHE, or ./cache)."""
    out: Path | None = None
    """Folder to write the results to (default: ./runs/<command>-<preset>-<number>)."""
    fields: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)

    @property
    def label(self) -> str:
        """The configuration's name in the name of an output folder: the preset, or the data set and network."""
        return self.preset or f"{self.fields.dataset.name}-{self.fields.network.name}".replace("/", "-")


Arguments = TypeVar("Arguments", bound=ConfiguredArguments)


def parse_configured(
    kind: type[Arguments], argv: Sequence[str], *, prog: str, others: Mapping[str, RunConfig] | None = None
) -> Arguments:
    """Parse a command's arguments; fields that are not given keep the values of the preset or file.

    Args:
        kind: The command's class of arguments.
        argv: The command line after the command.
        prog: The command, for messages and help.
        others: Further names that are accepted as PRESET, each with the configuration whose values fields keep.

    Raises:
        UsageError: If the arguments are not valid, or name both a preset and a file.
        ConfigError: If the preset or file is unknown, or the configuration has errors.
        SystemExit: With code 0, after printing the help that was asked for.
    """
    named = argv[0] if argv and not argv[0].startswith("-") else None
    base = (others or {}).get(named or "") or _base(argv, named)
    if help_options := {"-h", "--help", "--help-all"} & set(argv):
        print_help(kind(fields=base), prog, everything="--help-all" in help_options, hidden=_NOT_OPTIONS)
        raise SystemExit(0)
    for path in _NOT_OPTIONS.keys() & given_fields(argv):
        raise UsageError(f"--{path}: {_NOT_OPTIONS[path]}. See: {prog} --help")
    known = [*field_paths(), *(part.name for part in fields(kind))]
    nearest = partial(nearest_field, fields=known)
    arguments = parse(kind, argv, prog=prog, nearest=nearest, default=kind(fields=base))
    if named is not None and arguments.config is not None:
        raise UsageError(f"expected a preset or --config, found both. See: {prog} --help")
    if named is None:
        _refuse_late_preset(arguments, argv, prog)
    config = arguments.fields
    names = {"network.name": config.network.name, "neuron.name": config.neuron.name}
    absolute: dict[str, Any] = {path: absolute_class(name) for path, name in names.items()}
    if config.start_from is not None:
        absolute["start_from"] = str(Path(config.start_from).expanduser().absolute())
    return replace(arguments, fields=override(config, absolute))


def given_options(argv: Sequence[str]) -> set[str]:
    """Return the options of a command line as spelled in the help, such as ``--neuron.tau`` and ``--dry-run``."""
    return {part.partition("=")[0].replace("_", "-") for part in argv if part.startswith("--")}


def given_fields(argv: Sequence[str]) -> set[str]:
    """Return the paths of the configuration's fields that a command line sets."""
    return {option.removeprefix("--").replace("-", "_") for option in given_options(argv)} & field_paths().keys()


def refuse_beside_resume(argv: Sequence[str], allowed: Collection[str], *, next_step: str) -> None:
    """Refuse arguments that would change what a resumed run, search or comparison computes.

    Args:
        argv: The command line after the command, with ``--resume``.
        allowed: The options that are accepted together with ``--resume``.
        next_step: What to do instead, as a sentence.

    Raises:
        UsageError: If there is a preset or any other option.
    """
    preset = [part for part in argv[:1] if not part.startswith("-")]
    found = [*preset, *sorted(given_options(argv) - set(allowed) - {"--resume"})]
    if found:
        raise UsageError(
            f"--resume: expected only {', '.join(sorted(allowed))} with it, because the saved configuration is "
            f"reused, found {', '.join(found)}. {next_step}"
        )


def inactive_notes(argv: Sequence[str], config: RunConfig) -> list[str]:
    """Return a line for each field that a command line sets although it has no effect with the other values."""
    values, given = flatten(config), given_fields(argv)
    notes = {
        path: f"has no effect with {', '.join(f'{name} {values[name]}' for name in governors_of(path))}"
        for path in inactive_fields(values)
    }
    notes |= {
        path: f"{values[path]} has no effect with {whole} {values[whole]}" for path, whole in redundant_fields(values)
    }
    return [f"{path}: {note}" for path, note in notes.items() if path in given]


def absolute_class(name: str) -> str:
    """Make the path in the name of a custom class absolute, so that it is found from any working directory.

    Other names are returned unchanged.
    """
    return str(Path(name).expanduser().absolute()) if ".py:" in name else name


def _base(argv: Sequence[str], named: str | None) -> RunConfig:
    """Return the configuration that the options change."""
    for part, after in itertools.pairwise([*argv, ""]):
        option, equals, value = part.partition("=")
        path = value if equals else after
        if option == "--config" and path:
            return load_config(Path(path).expanduser())
    return find_preset(named).config if named is not None else RunConfig()


def _refuse_late_preset(arguments: ConfiguredArguments, argv: Sequence[str], prog: str) -> None:
    """Refuse a preset after the options: its values would not be used, or it would become the value of an option."""
    late = arguments.preset
    if late is None and arguments.config is None:
        late = next((part for part in argv[1:] if part in PRESETS), None)
    if late is not None:
        raise UsageError(
            f"PRESET: expected it before the options, found '{late}' after them. Write: {prog} {late} {argv[0]} ..."
        )
