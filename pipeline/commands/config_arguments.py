"""What train, tune and compare share: a preset or a configuration file, and any of its fields as a flag."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from pipeline.config.field_names import nearest_field
from pipeline.config.inactive_fields import governors_of, idle_fields
from pipeline.config.run_config import RunConfig, field_paths, flatten, load_config, override
from pipeline.presets.registry import PRESETS, find_preset
from preprocess.terminal.command_line import UsageError, parse


@dataclass(frozen=True)
class ConfiguredArguments:
    """Base of the arguments of verbs that run configurations; the verb adds its own below."""

    preset: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PRESET")] = None
    """A named configuration; see: spikeloom presets."""
    config: Path | None = None
    """A configuration file instead: a run's config.json or a search's best.json."""
    cache: Path | None = None
    """The folder of all caches; $SPIKELOOM_CACHE or ./cache if not given."""
    out: Path | None = None
    """The folder to write; ./runs/<verb>-<preset>-<n> if not given."""
    fields: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)

    @property
    def label(self) -> str:
        """What names the configuration in an output folder: the preset, or the data set and network."""
        return self.preset or f"{self.fields.dataset.name}-{self.fields.network.name}".replace("/", "-")


Arguments = TypeVar("Arguments", bound=ConfiguredArguments)


def parse_configured(
    kind: type[Arguments], words: Sequence[str], *, prog: str, others: Mapping[str, RunConfig] | None = None
) -> Arguments:
    """Parse a verb's words; fields that are not given keep the values of the preset or file.

    Args:
        kind: The verb's arguments.
        words: As they stand on the command line.
        prog: The verb, for messages.
        others: Names that the verb takes in a preset's place, with the configuration whose values fields keep.

    Raises:
        UsageError: If the words do not fit, or name both a preset and a file.
        ConfigError: If the preset or file is unknown or the configuration is faulty.
    """
    named = _positional(words, {f"--{part.name}" for part in fields(kind) if "tuple" in str(part.type)}, _bare(kind))
    try:
        base = (others or {}).get(named) if named is not None else None
        arguments = parse(kind, words, prog=prog, default=kind(fields=base or _base(words, named)))
    except UsageError as error:
        raise UsageError(*(_with_nearest_flag(message, kind) for message in error.errors)) from None
    if arguments.preset is not None:
        if arguments.preset not in (others or {}):
            find_preset(arguments.preset)
        if arguments.config is not None:
            raise UsageError(f"expected a preset or --config, found both. See: {prog} --help")
    elif arguments.config is None and words and words[-1] in PRESETS:
        raise UsageError(f"expected the preset in front of the flags, such as: {prog} {words[-1]} {words[0]} ...")
    config = arguments.fields
    names = {"network.name": config.network.name, "neuron.name": config.neuron.name}
    places: dict[str, Any] = {path: absolute_class(name) for path, name in names.items()}
    if config.start_from is not None:
        places["start_from"] = str(Path(config.start_from).expanduser().absolute())
    return replace(arguments, fields=override(config, places))


def idle_notes(words: Sequence[str], config: RunConfig) -> list[str]:
    """A line for each field that a command line sets and that has no effect beside the others."""
    given = {word.removeprefix("--").partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    values = flatten(config)
    return [
        f"{path}: has no effect with {', '.join(f'{name} {values[name]}' for name in governors_of(path))}"
        for path in idle_fields(values)
        if path in given
    ]


def absolute_class(name: str) -> str:
    """A class of a file by its absolute path: a resumed run or a Ray worker stands elsewhere; other names stay."""
    return str(Path(name).expanduser().absolute()) if ".py:" in name else name


def _bare(kind: type[ConfiguredArguments]) -> frozenset[str]:
    """Flags of truth values, which take no word, in both forms that tyro gives them: --compile, --no-compile."""
    paths = [path for path, hint in field_paths().items() if hint is bool]
    paths += [part.name for part in fields(kind) if part.type in (bool, "bool")]
    flags = set()
    for path in paths:
        section, dot, name = path.rpartition(".")
        flags |= {f"--{section}{dot}{name}", f"--{section}{dot}no-{name}"}
    return frozenset(_hyphened(flag) for flag in flags)


def _hyphened(flag: str) -> str:
    """A flag as tyro spells it; it takes underscores as well."""
    return flag.replace("_", "-")


def _positional(words: Sequence[str], variadic: Collection[str], bare: Collection[str]) -> str | None:
    """The word that no flag takes; flags take one word, bare ones none, variadic ones all up to the next flag."""
    k = 0
    while k < len(words):
        word = words[k]
        if not word.startswith("-"):
            return word
        k += 1
        if word in variadic:
            while k < len(words) and not words[k].startswith("-"):
                k += 1
        elif "=" not in word and word not in ("-h", "--help") and _hyphened(word) not in bare:
            k += 1
    return None


def _base(words: Sequence[str], named: str | None) -> RunConfig:
    """The configuration that the flags change."""
    for k, word in enumerate(words):
        if word == "--config" and k + 1 < len(words):
            return load_config(Path(words[k + 1]).expanduser())
        if word.startswith("--config="):
            return load_config(Path(word.partition("=")[2]).expanduser())
    return find_preset(named).config if named is not None else RunConfig()


def _with_nearest_flag(message: str, kind: type[ConfiguredArguments]) -> str:
    unknown = re.match(r"Unrecognized options?.*?(--[^\s,=-][^\s,=]*)", message)
    if unknown is None:
        return message
    near = nearest_field(unknown.group(1), [*field_paths(), *(part.name for part in fields(kind))])
    return f"{message}. Did you mean '--{_hyphened(near)}'?" if near else message
