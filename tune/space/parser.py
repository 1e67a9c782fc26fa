"""The entries of `--space`: files and named spaces are written out, and each entry becomes a dimension."""

from __future__ import annotations

import difflib
import math
import os.path
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.commands.config_arguments import absolute_class
from pipeline.config.nearest_field import nearest_field
from pipeline.config.run_config import PLACE_FIELDS, RunConfig, describe_type, field_paths, typed_value
from preprocess.errors import ConfigError
from tune.space.dimensions import Choice, Condition, Dimension, Range
from tune.space.named_spaces import NAMED_SPACES

FORMS = f"a named space ({', '.join(NAMED_SPACES)}), a file, field=a,b,c or field=lo:hi[:log][:N]"

_MOST_VALUES = 1000
SCORED_ON = ("dataset.name", "dataset.split", "dataset.validation_fraction", "selection")
"""The fields that decide which samples score a trial; an augmentation changes only training samples."""
SPLIT_DRAWS = ("dataset.fold", "dataset.split_seed")
"""The fields that choose among splits of one kind: repetitions in a comparison, but other samples in a search."""
_NOT_SEARCHED = ("schedule.stop_epoch", "start_from")


@dataclass(frozen=True)
class Entry:
    """A field and its values, as a user or a named space gives them.

    Attributes:
        text: The entry.
        origin: The file and line, or the named space, that contains it; empty on the command line.
        named: Whether it belongs to a named space, which explicit fields override.
    """

    text: str
    origin: str = ""
    named: bool = False

    @property
    def where(self) -> str:
        """The beginning of an error."""
        return f"--space {self.origin}: {self.text}" if self.origin else f"--space {self.text}"


def read_entries(texts: Sequence[str], config: RunConfig) -> tuple[list[Entry], list[str]]:
    """The entry of every field, in order, with files and named spaces written out, and an error for each file problem.

    A file is a text without = that ends in .txt or is the path of one; each of its lines is a field or a named space,
    and # starts a comment.
    """
    entries: list[Entry] = []
    errors = []
    for text in texts:
        if "=" in text or text in NAMED_SPACES or not (text.endswith(".txt") or os.path.isfile(text)):
            entries += _written_out(Entry(text), config)
            continue
        try:
            lines = Path(text).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            errors.append(f"--space {text}: expected a readable file, found: {cause}. Check the path.")
            continue
        for number, line in enumerate(lines, 1):
            content = re.sub(r"(^|\s)#.*", "", line).strip()
            if content:
                entries += _written_out(Entry(content, f"{text}, line {number}"), config)
    return entries, errors


def _written_out(entry: Entry, config: RunConfig) -> list[Entry]:
    if entry.text not in NAMED_SPACES:
        return [entry]
    return [Entry(text, entry.text, named=True) for text in NAMED_SPACES[entry.text](config)]


def parse_entry(text: str) -> Dimension:
    """The dimension that an entry such as ``neuron.tau=1.5:4 if neuron.name=lif,plif`` describes.

    Raises:
        ConfigError: With what was expected, without the entry itself.
    """
    searched, *conditions = re.split(r"\s+if\s+", text, maxsplit=1)
    path, kind, values = _divide(searched.strip())
    _refuse_fixed(path)
    dimension: Dimension
    if ":" in values and _number_kind(kind) is not None:
        dimension = _parse_range(path, values, kind)
    else:
        dimension = Choice(path, _parse_values(path, values, kind))
    if not conditions:
        return dimension
    return replace(dimension, when=tuple(_parse_condition(part, path) for part in re.split(r"\s+and\b", conditions[0])))


def _divide(text: str) -> tuple[str, Any, str]:
    """A field's path, its type, and the text after the =."""
    path, equals, values = text.partition("=")
    if not equals:
        near = difflib.get_close_matches(text, NAMED_SPACES, n=1)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"expected {FORMS}{hint}")
    kinds = field_paths()
    if path not in kinds:
        meant = nearest_field(path, kinds)
        hint = f"Did you mean '{meant}'?" if meant else "List all fields: spikeloom train --help-all"
        raise ConfigError(f"expected a field of the configuration, found {path}. {hint}")
    return path, kinds[path], values


def _refuse_fixed(path: str) -> None:
    """Fields in which trials may not differ."""
    if path in PLACE_FIELDS:
        raise ConfigError(
            f"expected a field that affects the results of a trial, found {path}, which only affects where it runs. "
            f"Set it with --{path}."
        )
    if path in SCORED_ON:
        raise ConfigError(
            f"expected a field whose values can be ranked, found {path}: trials that differ in it are scored on "
            "different samples. Run one search for each value."
        )
    if path in _NOT_SEARCHED:
        raise ConfigError(
            f"expected a setting, found {path}, which defines which part of a training a run is. Leave it out."
        )


def _parse_condition(text: str, searched: str) -> Condition:
    text = text.strip()
    if "=" not in text:
        raise ConfigError(f"expected a condition such as neuron.name=lif,plif after if, found '{text}'")
    try:
        path, kind, values = _divide(text)
        condition = Condition(path, _parse_values(path, values, kind))
    except ConfigError as error:
        raise ConfigError(*(f"in its condition {text}: {message}" for message in error.errors)) from None
    if path == searched:
        raise ConfigError(f"expected a condition on another field, found {path} itself")
    for value in condition.values:
        if not typed_value(value, kind)[1]:
            raise ConfigError(f"in its condition {text}: expected {describe_type(kind)}, found {value!r}")
    return condition


def _parse_values(path: str, text: str, kind: Any) -> tuple[Any, ...]:
    items = [absolute_class(item.strip()) for item in text.split(",")]
    if not all(items):
        raise ConfigError(f"expected values between the commas, as in {path}=a,b,c")
    return tuple(dict.fromkeys(_typed(item, kind) for item in items))


def _parse_range(path: str, text: str, kind: Any) -> Dimension:
    parts = text.split(":")
    whole = _number_kind(kind) is int
    try:
        low, high = (int(part) if whole else float(part) for part in parts[:2])
    except ValueError:
        numbers = "whole numbers" if whole else "numbers"
        raise ConfigError(f"expected {numbers} as in {path}=lo:hi, found '{text}'") from None
    log = parts[2:3] == ["log"]
    rest = parts[3:] if log else parts[2:]
    if len(rest) > 1 or not all(part.isdecimal() for part in rest):
        forms = f"{path}=lo:hi, {path}=lo:hi:log or either with :N appended for N values"
        raise ConfigError(f"expected {forms}, found '{text}'")
    if not low < high or math.isinf(low) or math.isinf(high):
        raise ConfigError(f"expected lo < hi, both finite, found {low} and {high}")
    if log and low <= 0:
        raise ConfigError(f"expected lo > 0 for a logarithmic range, found {low}")
    found = Range(path, low, high, log, whole)
    if not rest:
        return found
    most = int(min(found.count, _MOST_VALUES))
    if not 2 <= int(rest[0]) <= most:
        raise ConfigError(f"expected 2 to {most} values from {low} to {high}, found {rest[0]}")
    return Choice(path, found.grid(int(rest[0])))


def _options(kind: Any) -> tuple[Any, ...]:
    """The types that a field's values may have."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if union else (kind,)


def _number_kind(kind: Any) -> type | None:
    return next((option for option in _options(kind) if option in (int, float)), None)


def _typed(text: str, kind: Any) -> Any:
    """The text as a value of the field's type, or unchanged if it is not one; `typed_value` then reports the error."""
    options = _options(kind)
    if type(None) in options and text.lower() == "none":
        return None
    for option in options:
        if typing.get_origin(option) is Literal:
            return next((choice for choice in typing.get_args(option) if str(choice) == text), text)
        if option is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
    return text
