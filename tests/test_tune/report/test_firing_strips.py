"""Strips of firing rates: how many samples are run, and what is said of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tune.report.firing_strips import Firing


class OneLayer:
    """A network with one spiking layer, a third of which fires at each of four time steps."""

    layers = ("features.conv1.neuron",)

    def shares(self, sample: int) -> Any:
        return np.full((1, 4), 1 / 3)


@pytest.mark.parametrize(("seconds", "drawn"), [(60.0, 3), (-1.0, 1)])
def test_samples_after_the_time_limit_are_counted_and_not_drawn(
    seconds: float, drawn: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tune.report.firing_strips._MOST_SECONDS", seconds)
    firing = Firing({}, None)  # type: ignore[arg-type]
    firing._networks["LIF"] = OneLayer()  # type: ignore[assignment]
    for sample in range(3):
        firing.run(sample)
    assert [bool(firing.draw(sample)) for sample in range(3)] == [k < drawn for k in range(3)]
    assert ("Spikes are shown for 1 of 3 samples, to limit the time." in firing.note()) == (drawn < 3)
