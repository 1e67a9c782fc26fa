"""Early stopping: within a neuron and a T, never across them, and the same after an interruption."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
from ledger_rows import begin, rows

from pipeline.config.run_config import RunConfig, override, to_dict
from preprocess.files import write_lines
from tune.trials.ledger import Ledger
from tune.trials.successive_halving import EpochScheduler, StratifiedASHA, stratum_of

pytestmark = pytest.mark.ray

GO, STOP = "CONTINUE", "STOP"


def trial(name: str = "lif", timesteps: int = 4, epochs: int = 20, **changes: object) -> RunConfig:
    fields = {"neuron.name": name, "binning.timesteps": timesteps, "schedule.epochs": epochs}
    return override(RunConfig(), fields | {path.replace("_", ".", 1): value for path, value in changes.items()})


def decide(scheduler: StratifiedASHA, config: RunConfig, epoch: int, accuracy: float) -> str:
    return scheduler.decide(config, {"epoch": epoch, "validation_accuracy": accuracy})


@pytest.fixture
def scheduler() -> StratifiedASHA:
    return StratifiedASHA()


def test_trial_below_the_top_quarter_of_its_stratum_stops_at_a_rung(scheduler: StratifiedASHA):
    came = enumerate((0.5, 0.4, 0.6))
    assert [decide(scheduler, trial(neuron_tau=1.5 + k), 2, accuracy) for k, accuracy in came] == [GO, STOP, GO]
    # Between rungs nothing is judged; the next rung is epoch 8.
    assert decide(scheduler, trial(neuron_tau=1.5), 3, 0.0) == GO
    assert decide(scheduler, trial(neuron_tau=3.5), 8, 0.7) == GO
    assert decide(scheduler, trial(neuron_tau=1.5), 8, 0.1) == STOP


def test_more_than_the_median_is_needed_and_rungs_are_four_times_as_late(scheduler: StratifiedASHA):
    for k, accuracy in enumerate((0.2, 0.4, 0.6, 0.8)):
        assert decide(scheduler, trial(neuron_tau=1.5 + k), 2, accuracy) == GO
    # Three quarters of the others are below 0.65.
    assert decide(scheduler, trial(neuron_tau=6.0), 2, 0.64) == STOP
    assert decide(scheduler, trial(neuron_tau=7.0), 2, 0.66) == GO
    assert decide(scheduler, trial(neuron_tau=4.5), 4, 0.8) == GO
    assert decide(scheduler, trial(neuron_tau=7.0), 4, 0.1) == GO


def test_first_epoch_is_grace(scheduler: StratifiedASHA):
    assert [decide(scheduler, trial(neuron_tau=1.5 + k), 1, 1.0 - k / 10) for k in range(4)] == [GO] * 4


def test_trials_of_another_neuron_or_t_or_length_never_stop_each_other(scheduler: StratifiedASHA):
    """The worst of all goes on as long as it is the best of its own stratum."""
    strata = list(itertools.product(("lif", "clif"), (4, 8), (20, 40)))
    for k, (name, timesteps, epochs) in enumerate(strata):
        for epoch in (2, 8):
            assert decide(scheduler, trial(name, timesteps, epochs), epoch, 0.9 - k / 10) == GO
    for name, timesteps, epochs in strata:
        assert decide(scheduler, trial(name, timesteps, epochs, neuron_tau=3.0), 2, 0.05) == STOP
    assert len({stratum_of(trial(*stratum)) for stratum in strata}) == len(strata)


def test_trials_whose_bins_have_another_duration_never_stop_each_other(scheduler: StratifiedASHA):
    """T is of their length then, and binning.timesteps has no effect."""
    durations = [{"binning.split_by": "duration", "binning.duration_us": us} for us in (1000, 5000)]
    configs = [override(trial(), changes) for changes in durations]
    assert decide(scheduler, configs[0], 2, 0.9) == GO
    assert decide(scheduler, configs[1], 2, 0.1) == GO


@pytest.mark.parametrize("epochs", [1, 2, 8])
def test_trial_at_its_last_epoch_is_complete_and_never_stopped(scheduler: StratifiedASHA, epochs: int):
    assert decide(scheduler, trial(epochs=epochs), epochs, 0.9) == GO
    assert decide(scheduler, trial(epochs=epochs, neuron_tau=3.0), epochs, 0.1) == GO


def test_repeats_are_compared_with_the_same_seed(scheduler: StratifiedASHA):
    assert decide(scheduler, override(trial(), {"seed": 1}), 2, 0.9) == GO
    assert decide(scheduler, override(trial(neuron_tau=3.0), {"seed": 2}), 2, 0.1) == GO
    assert decide(scheduler, override(trial(neuron_tau=3.0), {"seed": 1}), 2, 0.1) == STOP


def of_ray(config: RunConfig) -> SimpleNamespace:
    return SimpleNamespace(trial_id="x", config={"task": {"config": to_dict(config)}})


def judge(scheduler: EpochScheduler, config: RunConfig, epoch: int, accuracy: float) -> str:
    return scheduler.on_trial_result(None, of_ray(config), {"epoch": epoch, "validation_accuracy": accuracy})


def test_replayed_ledger_judges_as_the_uninterrupted_search(tmp_path: Path):
    ledger = Ledger(tmp_path)
    earlier = [(1.5, rows(0.1, 0.5, 0.6)), (2.0, rows(0.2, 0.3)), (3.0, rows(0.3))]
    uninterrupted, resumed = [EpochScheduler(ledger, True, lambda: False) for _ in range(2)]
    for tau, metrics in earlier:
        begin(ledger, trial(neuron_tau=tau), metrics)
        for row in metrics:
            judge(uninterrupted, trial(neuron_tau=tau), row["epoch"], row["validation_accuracy"])
    resumed.replay(trial(neuron_tau=tau) for tau in (1.5, 2.0, 3.0, 4.0))
    # The one that was interrupted between rungs is itself, not another trial, when it goes on.
    later = [(3.0, 2, 0.45), (4.0, 2, 0.44), (3.0, 3, 0.1), (1.5, 8, 0.7), (4.0, 8, 0.6)]
    decisions = [
        [judge(one, trial(neuron_tau=tau), epoch, accuracy) for tau, epoch, accuracy in later]
        for one in (uninterrupted, resumed)
    ]
    assert decisions[0] == decisions[1] == [GO, STOP, GO, GO, STOP]


def test_stop_that_was_due_at_the_interruption_is_made_up_for(tmp_path: Path):
    ledger = Ledger(tmp_path)
    good, poor, between = (trial(neuron_tau=tau) for tau in (2.0, 3.0, 4.0))
    # The poor one wrote epoch 2 as the search was killed; the third was told to go on then, as the first to come.
    for config, ended, accuracies in (
        (good, 20.0, (0.1, 0.9)),
        (poor, 30.0, (0.1, 0.2)),
        (between, 10.0, (0.1, 0.3, 0.3)),
    ):
        folder = begin(ledger, config, rows(*accuracies))
        timings = [{"epoch": k + 1, "epoch_s": 1.0, "ended": ended + k} for k in range(len(accuracies))]
        write_lines(folder / "timings.jsonl", timings)
    assert EpochScheduler(ledger, True, lambda: False).replay([good, poor, between]) == [poor]
    assert [ledger.state(config) for config in (good, poor, between)] == ["started", "pruned", "started"]
    assert EpochScheduler(ledger, True, lambda: False).replay([good, poor, between]) == []


def test_stopped_trial_is_pruned_in_the_ledger(tmp_path: Path):
    ledger = Ledger(tmp_path)
    scheduler = EpochScheduler(ledger, True, lambda: False)
    good, poor = trial(neuron_tau=2.0), trial(neuron_tau=3.0)
    for config, accuracy in ((good, 0.9), (poor, 0.2)):
        begin(ledger, config, rows(0.1, accuracy))
        judge(scheduler, config, 2, accuracy)
    assert ledger.read_done(good) is None
    record = ledger.read_done(poor)
    assert record is not None
    assert (record["status"], record["epochs"], record["validation_accuracy"]) == ("pruned", 2, 0.2)


def test_trial_stops_for_the_time_without_an_end_but_not_at_its_last_epoch(tmp_path: Path):
    ledger = Ledger(tmp_path)
    scheduler = EpochScheduler(ledger, False, lambda: True)
    begin(ledger, trial(epochs=4), rows(0.5))
    assert judge(scheduler, trial(epochs=4), 3, 0.5) == STOP
    assert ledger.read_done(trial(epochs=4)) is None
    assert judge(scheduler, trial(epochs=4), 4, 0.5) == GO
