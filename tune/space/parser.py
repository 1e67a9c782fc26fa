"""Words of `--space`: files and named spaces are spelled out, and each word becomes a dimension."""

from __future__ import annotations

import difflib
import math
import os.path
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.commands.config_arguments import absolute_class
from pipeline.config.field_names import nearest_field
from pipeline.config.run_config import PLACE_FIELDS, RunConfig, describe_type, field_paths, typed_value
from preprocess.errors import ConfigError
from tune.space.dimensions import Choice, Condition, Dimension, Range
from tune.space.named_spaces import NAMED_SPACES

FORMS = f"a named space ({', '.join(NAMED_SPACES)}), a file, field=a,b,c or field=lo:hi[:log][:N]"

_MOST_VALUES = 1000
# What decides which samples score a trial; an augmentation changes training samples alone.
_SCORED_ON = ("dataset.name", "dataset.split", "dataset.validation_fraction", "selection")
_NOT_SEARCHED = ("schedule.stop_epoch", "start_from")


@dataclass(frozen=True)
class Word:
    """A field and its values, as a user or a named space says it.

    Attributes:
        text: The word.
        place: The file and line, or the named space, that it stands in; empty on the command line.
        named: Whether it is a named space's, which own words replace.
    """

    text: str
    place: str = ""
    named: bool = False

    @property
    def where(self) -> str:
        """In front of a fault."""
        return f"--space {self.place}: {self.text}" if self.place else f"--space {self.text}"


def read_words(words: Sequence[str], config: RunConfig, errors: list[str]) -> Iterator[Word]:
    """Every field's word, in order; adds a fault for a file that cannot be read.

    A file is a word without = that ends in .txt or is one's path; a line of it is a word or a named space, and what is
    behind a # is a comment.
    """
    for word in words:
        if "=" in word or word in NAMED_SPACES or not (word.endswith(".txt") or os.path.isfile(word)):
            yield from _spelled_out(Word(word), config)
            continue
        try:
            lines = Path(word).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            errors.append(f"--space {word}: cannot be read ({getattr(error, 'strerror', None) or error})")
            continue
        for number, line in enumerate(lines, 1):
            text = re.sub(r"(^|\s)#.*", "", line).strip()
            if text:
                yield from _spelled_out(Word(text, f"{word}, line {number}"), config)


def _spelled_out(word: Word, config: RunConfig) -> Iterator[Word]:
    if word.text not in NAMED_SPACES:
        yield word
        return
    for text in NAMED_SPACES[word.text](config):
        yield Word(text, word.text, named=True)


def parse_word(text: str) -> Dimension:
    """The dimension that a word such as ``neuron.tau=1.5:4 if neuron.name=lif,plif`` describes.

    Raises:
        ConfigError: With what was expected; the word itself is not in it.
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
    """A field's path, its type, and what stands behind the =."""
    path, equals, values = text.partition("=")
    if not equals:
        near = difflib.get_close_matches(text, NAMED_SPACES, n=1)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"expected {FORMS}{hint}")
    kinds = field_paths()
    if path not in kinds:
        meant = nearest_field(path, kinds)
        hint = f"Did you mean '{meant}'?" if meant else "The field paths are in: spikeloom train --help"
        raise ConfigError(f"no such field. {hint}")
    return path, kinds[path], values


def _refuse_fixed(path: str) -> None:
    """Fields in which trials may not differ."""
    if path in PLACE_FIELDS:
        raise ConfigError(f"{path} says where a run runs, not what it computes. Set it with --{path}.")
    if path in _SCORED_ON:
        raise ConfigError(
            f"trials with another {path} are scored on other samples and cannot be ranked. Search once for each."
        )
    if path in _NOT_SEARCHED:
        raise ConfigError(f"{path} says which part of a training a run is, and is no setting to search.")


def _parse_condition(text: str, searched: str) -> Condition:
    text = text.strip()
    if "=" not in text:
        raise ConfigError(f"expected a condition such as neuron.name=lif,plif behind if, found '{text}'")
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
    words = [absolute_class(item.strip()) for item in text.split(",")]
    if not all(words):
        raise ConfigError(f"expected values between the commas, as in {path}=a,b,c")
    return tuple(dict.fromkeys(_typed(item, kind) for item in words))


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
        forms = f"{path}=lo:hi, {path}=lo:hi:log or, behind either, :N for N values"
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
    """The word as a value of the field's type, or as it is where it is none: `typed_value` then tells what fits."""
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
