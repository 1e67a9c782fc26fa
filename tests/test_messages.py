"""The helper that checks error messages can itself fail."""

from __future__ import annotations

import pytest

from preprocess.errors import ConfigError
from tests.messages import parse_message, refuses

LINE = "neuron.tau: expected more than 1, found 0.5. Use --neuron.tau 2. Or a neuron without a leak."


def test_a_message_is_split_into_its_parts() -> None:
    message = parse_message(LINE)
    assert (message.where, message.expected, message.found) == ("neuron.tau", "more than 1", "0.5")
    assert message.remedy == "Use --neuron.tau 2. Or a neuron without a leak."


def test_a_message_of_another_form_is_searched_whole() -> None:
    assert parse_message("the disk is full").remedy == "the disk is full"


@pytest.mark.parametrize(
    "wanted", [{"where": "neuron.alpha"}, {"expected": "0.5"}, {"found": "2"}, {"remedy": "--binning"}, {"errors": 2}]
)
def test_a_part_that_does_not_match_fails(wanted: dict[str, str]) -> None:
    with pytest.raises(AssertionError), refuses(ConfigError, **wanted):
        raise ConfigError(LINE)


def test_any_of_several_lines_may_match() -> None:
    with refuses(ConfigError, where="neuron.tau", found="0.5", errors=2):
        raise ConfigError("seed: expected 0 or more, found -1", LINE)
