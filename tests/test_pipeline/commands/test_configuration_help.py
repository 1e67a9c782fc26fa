"""The help of train, tune and compare: the main options first, all of them on request, no option that is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

import pytest

from pipeline.commands import train
from pipeline.config.run_config import field_paths
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS, PIPELINE_COMMANDS
from tune.commands import compare, tune

HIDDEN = {"neuron.timesteps"}


@pytest.fixture
def help_of(capsys) -> Callable[..., str]:
    def read(*argv: str) -> str:
        assert run_main(PIPELINE_COMMANDS | COMMANDS, prog="spikeloom", description="", argv=argv) == 0
        return capsys.readouterr().out

    return read


def options(text: str) -> list[str]:
    """The options of a help text in their order, without the one for help."""
    return [name for name in re.findall(r"^(?:│ |  )(--\w[\w.-]*)", text, re.MULTILINE) if name != "--help"]


def flag(path: str) -> str:
    return "--" + path.replace("_", "-")


@pytest.mark.parametrize("command", [train, tune, compare])
def test_help_shows_the_main_options_in_their_order(command: ModuleType, help_of):
    name = command.__name__.rpartition(".")[2]
    text = help_of(name, "--help")
    assert options(text) == [flag(path) for path in command.Arguments.MAIN_OPTIONS] != []
    assert "PRESET" in text.splitlines()[0]
    assert text.splitlines()[-1].endswith(f": spikeloom {name} --help-all")


def test_help_shows_the_values_of_the_preset(help_of):
    assert "(default: 10)" in help_of("train", "n-mnist-small", "-h")
    assert "(default: 20)" in help_of("train", "gesture-vgg11", "-h")


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
def test_help_all_shows_every_field(command: str, help_of):
    shown = options(help_of(command, "--help-all"))
    assert {flag(path) for path in field_paths() if path not in HIDDEN} <= set(shown)
    assert not {flag(path) for path in HIDDEN} & set(shown)
    assert len(shown) == len(set(shown)) and "--given" not in shown


def test_what_a_command_says_of_an_option_is_shown(help_of):
    assert "pbt: " in help_of("tune", "--help").partition("--search {")[2].partition("  --samples")[0]


def test_no_default_is_hidden_but_those_that_the_text_explains(help_of):
    text = help_of("train", "--help-all")
    assert "None" not in text.partition("binning options")[0] and "(default: 0)" in text
