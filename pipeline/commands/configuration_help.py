"""The help of commands that accept every field of a configuration: the main options first, all of them on request.

Which options are the main ones is listed in `MAIN_OPTIONS` of each command's `Arguments`.
"""

from __future__ import annotations

import typing
from collections.abc import Collection
from dataclasses import is_dataclass
from typing import Any

from pipeline.config.run_config import field_paths, flatten
from preprocess.terminal.option_help import Option, attribute_docs, options_of, print_flat_options, print_options


def print_help(arguments: Any, prog: str, *, everything: bool, hidden: Collection[str]) -> None:
    """Print the help of a command.

    Args:
        arguments: An instance of the command's class: its values are shown as defaults, its `fields` are the
            configuration, and its `MAIN_OPTIONS` name the options to show, in this order.
        prog: The command, such as ``spikeloom train``.
        everything: Whether all options are shown.
        hidden: Paths of fields that are not options.
    """
    kind = type(arguments)
    own = [option for option in options_of(kind, arguments) if option.path not in ("preset", "fields")]
    options = {option.path: option for option in own + _configuration(arguments.fields) if option.path not in hidden}
    if everything or not arguments.MAIN_OPTIONS:
        print_options(kind, options.values(), f"{prog} [PRESET]")
        return
    print_flat_options(kind, [options[path] for path in arguments.MAIN_OPTIONS], f"{prog} [PRESET]")
    print(f"These are the main options. Show all {len(options)}: {prog} --help-all")


def _configuration(config: Any) -> list[Option]:
    """An option for each field of a configuration."""
    values, docs = flatten(config), attribute_docs(type(config))
    for name, hint in typing.get_type_hints(type(config)).items():
        if is_dataclass(hint):
            docs |= {f"{name}.{inner}": text for inner, text in attribute_docs(typing.cast(type, hint)).items()}
    return [Option(path, hint, values[path], docs.get(path, "")) for path, hint in field_paths().items()]
