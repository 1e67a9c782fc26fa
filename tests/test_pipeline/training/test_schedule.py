"""The cosine with warm-up, lowest rate and cooldown is that of the transformer's authors (timm's CosineLRScheduler)."""

from __future__ import annotations

import math

import pytest

from pipeline.config.run_config import RunConfig, override
from pipeline.training.schedule import learning_rate
from preprocess.errors import ConfigError

TIMM = {
    "optimiser.learning_rate": 3e-4,
    "schedule.epochs": 210,
    "schedule.warmup_epochs": 10,
    "schedule.warmup_learning_rate": 1e-6,
    "schedule.cosine_from": "start",
    "schedule.min_learning_rate": 1e-5,
    "schedule.cooldown_epochs": 10,
}


def timm_rate(epoch: int) -> float:
    """The rate of an epoch, counted from 0: t_initial 200, warmup_t 10, without a prefix."""
    if epoch < 10:
        return 1e-6 + epoch * (3e-4 - 1e-6) / 10
    return 1e-5 if epoch >= 200 else 1e-5 + 0.5 * (3e-4 - 1e-5) * (1 + math.cos(math.pi * epoch / 200))


def test_the_rates_are_those_of_timm():
    config = override(RunConfig(), TIMM)
    found = [learning_rate(config, epoch) for epoch in range(1, 211)]
    assert found == pytest.approx([timm_rate(epoch) for epoch in range(210)], rel=1e-12)


def test_after_the_warm_up_the_cosine_starts_with_the_full_rate_unless_it_started_before():
    config = override(RunConfig(), TIMM | {"schedule.cosine_from": "warmup"})
    assert learning_rate(config, 11) == 3e-4 and learning_rate(config, 200) > 1e-5
    assert [learning_rate(config, epoch) for epoch in (201, 210)] == [1e-5, 1e-5]
    assert learning_rate(override(RunConfig(), TIMM), 11) < 3e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule.cooldown_epochs": 200}, "schedule.cooldown_epochs: expected 0 to epochs - warmup_epochs - 1"),
        ({"schedule.cooldown_epochs": -1}, "schedule.cooldown_epochs: expected 0 to epochs - warmup_epochs - 1"),
        ({"schedule.min_learning_rate": 1e-3}, "expected 0 to optimiser.learning_rate = 0.0003, found 0.001"),
        ({"schedule.min_learning_rate": -1.0}, "schedule.min_learning_rate: expected at least 0, found -1.0"),
        ({"schedule.warmup_learning_rate": -1.0}, "schedule.warmup_learning_rate: expected at least 0, found -1.0"),
    ],
)
def test_rates_and_epochs_that_do_not_fit_are_refused(changes: dict[str, float], message: str):
    with pytest.raises(ConfigError) as refused:
        override(RunConfig(), TIMM | changes)
    assert message in str(refused.value)
