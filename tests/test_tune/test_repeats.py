"""Several seeds of one configuration: one mean each, and none where a run is missing."""

from __future__ import annotations

from typing import Any

import pytest

from tune.groups import group_rows


def row(accuracy: float | None, status: str = "done", **others: Any) -> dict[str, Any]:
    found = {"trial": "a", "status": status, "validation_accuracy": accuracy, "firing_rate": 0.1, "epochs": 4}
    return found | {"energy_uj": 2.0, "seconds": 3.0} | others


def test_runs_become_their_mean_with_its_spread():
    (found,) = group_rows([row(0.8, energy_uj=1.0), row(0.9, energy_uj=2.0), row(1.0, energy_uj=3.0)], 3)
    assert found["validation_accuracy"] == pytest.approx(0.9) and found["energy_uj"] == 2.0
    assert found["validation_accuracy_std"] == pytest.approx(0.1)
    assert (found["seconds"], found["runs"]) == (9.0, 3)


@pytest.mark.parametrize("status", ["pruned", "failed", "waiting", "started"])
def test_configuration_of_which_a_run_is_missing_has_no_mean(status: str):
    assert [
        found["trial"] for found in group_rows([row(0.9), row(None, status), row(0.8, trial="b"), row(0.7)], 2)
    ] == ["b"]


def test_single_runs_have_no_spread():
    (found,) = group_rows([row(0.9)], 1)
    assert (found["validation_accuracy"], found["validation_accuracy_std"]) == (0.9, None)
