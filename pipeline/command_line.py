"""What train, tune and compare share: a preset or a configuration file, and any of its fields as a flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from pipeline.config import RunConfig, load_config, override
from pipeline.presets import PRESETS, find_preset
from preprocess.command_line import UsageError, parse


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


def parse_configured(kind: type[Arguments], words: Sequence[str], *, prog: str) -> Arguments:
    """Parse a verb's words; fields that are not given keep the values of the preset or file.

    Raises:
        UsageError: If the words do not fit, or name both a preset and a file.
        ConfigError: If the preset or file is unknown or the configuration is faulty.
    """
    base = _base(words)
    arguments = parse(kind, words, prog=prog, default=kind(fields=base))
    if arguments.preset is not None and arguments.config is not None:
        raise UsageError(f"expected a preset or --config, found both. See: {prog} --help")
    return replace(arguments, fields=_with_absolute_paths(arguments.fields))


def _with_absolute_paths(config: RunConfig) -> RunConfig:
    """Classes from files named from here on by absolute paths: a resumed run or a Ray worker stands elsewhere."""
    names = {"network": config.network.name, "neuron": config.neuron.name}
    return override(
        config,
        {f"{path}.name": str(Path(name).expanduser().absolute()) for path, name in names.items() if ".py:" in name},
    )


def _base(words: Sequence[str]) -> RunConfig:
    """The configuration that the flags change: the words name it, wherever among the flags they do."""
    for k, word in enumerate(words):
        if word == "--config" and k + 1 < len(words):
            return load_config(Path(words[k + 1]).expanduser())
        if word.startswith("--config="):
            return load_config(Path(word.partition("=")[2]).expanduser())
    for word in words:
        if word in PRESETS:
            return PRESETS[word].config
    if words and not words[0].startswith("-"):
        return find_preset(words[0]).config
    return RunConfig()
