"""Accuracy on disturbed samples: closed forms where the answer is known, and what is left out with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from messages import refuses
from torch import nn

from pipeline.analysis import robustness
from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import RobustnessOptions
from pipeline.analysis.robustness import RobustnessResult, analyse_robustness
from pipeline.config.run_config import override
from pipeline.evaluation.other_timesteps import accuracy_by_timesteps
from pipeline.runs.run_folder import open_run
from preprocess.errors import ConfigError, FullMemoryError

Untrained = Callable[..., Analysed]


class CountsEvents(nn.Module):
    """Answers with the third of the columns that has the most events; class 0 if there is none."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        columns = frames.sum((2, 3))
        return torch.stack([columns[..., 5 * k : 5 * k + 5].sum(-1) for k in range(3)], -1)


@pytest.fixture
def counting(untrained: Untrained, monkeypatch: pytest.MonkeyPatch) -> Analysed:
    """A preset whose network is `CountsEvents`."""
    monkeypatch.setattr(Analysed, "load_network", lambda *_: (CountsEvents(), None))
    return untrained()


def accuracies(result: RobustnessResult, kind: str) -> dict[float, float]:
    (curve,) = [curve for curve in result.curves if curve.kind == kind]
    return {point.level: point.accuracy for point in curve.points}


def test_a_network_that_counts_events_has_known_accuracies(counting: Analysed):
    """The tiny samples' columns depend on their class: without disturbance it is right, without events it says 0."""
    options = RobustnessOptions(samples=1000, dropped=(0.2, 1.0), jitter_ms=(5.0,), noise=(50.0,), hot_pixels=(1,))
    found = analyse_robustness(counting, options)
    assert found.changed == "events" and found.left_out == {}
    dropped = accuracies(found, "dropped")
    assert (dropped[0.0], dropped[0.2]) == (1.0, 1.0) and dropped[1.0] == pytest.approx(1 / 3)
    # Neither times nor T change where the events are.
    assert set(accuracies(found, "jitter").values()) == {1.0}
    assert accuracies(found, "timesteps") == {2.0: 1.0, 5.0: 1.0, 10.0: 1.0}
    assert accuracies(found, "noise")[50.0] <= 1.0
    assert RobustnessResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_hot_pixel_that_outnumbers_the_events_decides(counting: Analysed):
    """With enough events of one pixel, the answer is the third in which it is, whatever the class."""
    found = analyse_robustness(
        counting, RobustnessOptions(samples=1000, kinds=("hot-pixels",), hot_pixels=(1,), hot_hz=1e5)
    )
    hot = accuracies(found, "hot-pixels")
    assert hot[0.0] == 1.0 and 0.05 < hot[1.0] < 0.75


def test_undisturbed_accuracy_is_the_runs_and_other_t_is_that_of_evaluate(trained: Path):
    run = open_run(trained)
    found = analyse_robustness(trained, RobustnessOptions(samples=1000, kinds=("timesteps",), timesteps=(2, 7)))
    assert run.result is not None
    cache = open_analysed(trained).cache
    expected = accuracy_by_timesteps(run, cache, (2, 7), torch.device("cpu")) | {5: run.result["test_accuracy"]}
    assert accuracies(found, "timesteps") == {float(steps): expected[steps] for steps in (2, 5, 7)}
    point = next(point for point in found.curves[0].points if point.level == 5)
    assert (point.low, point.high) == (run.result["test_accuracy_low"], run.result["test_accuracy_high"])
    assert point.firing_rate == pytest.approx(run.result["firing_rate"])
    assert len({point.firing_rate for point in found.curves[0].points}) == 3


def test_without_a_fixed_t_frames_are_changed_and_times_left_out(untrained: Untrained):
    changes = {"binning__split_by": "duration", "binning__duration_us": 20_000}
    found = analyse_robustness(
        untrained(**changes), RobustnessOptions(samples=8, noise=(1.0,), hot_pixels=(1,), dropped=(0.5,))
    )
    assert (found.changed, found.why_frames) == ("frames", "T varies") and found.hot_events > 0
    assert [curve.kind for curve in found.curves] == ["noise", "hot-pixels", "dropped"]
    assert found.left_out.keys() == {"jitter", "timesteps"}


def test_without_an_event_store_frames_are_changed(counting: Analysed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(robustness, "events_path", lambda *_: Path("no", "such", "file"))
    found = analyse_robustness(counting, RobustnessOptions(samples=1000, dropped=(0.2, 1.0), hot_pixels=(1,)))
    assert (found.changed, found.why_frames) == ("frames", "the data set has no event store")
    dropped = accuracies(found, "dropped")
    assert (dropped[0.0], dropped[0.2]) == (1.0, 1.0) and dropped[1.0] == pytest.approx(1 / 3)
    assert found.left_out.keys() == {"jitter", "timesteps"}


def test_weights_that_fit_one_t_leave_time_steps_out(untrained: Untrained):
    found = analyse_robustness(
        untrained(neuron__name="psn"), RobustnessOptions(samples=4, kinds=("dropped", "timesteps"), dropped=(0.5,))
    )
    assert "only T = 5 can be evaluated" in found.left_out["timesteps"]


def test_what_is_not_defined_is_one_line(untrained: Untrained, trained: Path):
    with refuses(ConfigError, where="--timesteps", found="0", errors=1):
        RobustnessOptions(timesteps=(0,))
    with refuses(ConfigError, where="--timesteps", found="100000000", errors=1):
        RobustnessOptions(timesteps=(4, 100_000_000))
    with refuses(ConfigError, where="--timesteps", errors=1):
        analyse_robustness(untrained(neuron__name="psn"), RobustnessOptions(timesteps=(9,)))
    with refuses(ConfigError, where="--kinds", errors=1):
        varying = untrained(binning__split_by="duration", binning__duration_us=20_000)
        analyse_robustness(varying, RobustnessOptions(samples=4, kinds=("jitter",)))
    with refuses(ConfigError, where="--noise", found="0", errors=1):
        RobustnessOptions(noise=(0.0,))
    images = open_analysed(trained)
    config = override(images.config, {"input.encoding": "direct"})
    with refuses(ConfigError, expected="events of a camera", errors=1):
        analyse_robustness(replace(images, config=config))


def test_an_analysis_that_does_not_fit_into_memory_names_options_that_it_has(
    untrained: Untrained, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        # As PyTorch's allocator does on a CPU.
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    monkeypatch.setattr(robustness, "evaluate", refuse)
    with pytest.raises(FullMemoryError, match=r"cpu: out of memory\. Give fewer time steps or samples; see spikeloom"):
        analyse_robustness(untrained(), RobustnessOptions(samples=4, kinds=("dropped",)))
