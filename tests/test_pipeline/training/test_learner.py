"""A step does what its configuration says: clipping, moving average, schedules, early stopping, named faults."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import OptimiserConfig, RunConfig, ScheduleConfig, fingerprint, override
from pipeline.data.loader import Batch
from pipeline.networks import SpikeCounter, build_network, reset_network
from pipeline.runs.checkpoint import load_checkpoint, load_weights
from pipeline.runtime.device import resolve_precision
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner
from pipeline.training.non_finite import find_layer
from pipeline.training.schedule import learning_rate
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError, RunError
from preprocess.files import read_lines

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("learner"))


def network(config: RunConfig) -> torch.nn.Module:
    return build_network(config.network, config.neuron, channels=2, classes=3, size=(16, 16), timesteps=3, seed=1)


def learner_of(changes: dict) -> Learner:
    config = override(TINY, changes)
    return Learner(config, network(config), CPU, Group())


def batch_of(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randint(0, 5, (3, 8, 2, 16, 16), generator=generator).float(), torch.arange(8) % 3)


def step(learner: Learner, batch: Batch) -> float:
    with SpikeCounter(learner.network) as counter:
        loss, _ = learner.loss(batch, counter)
        learner.update(loss)
    return float(loss.detach())


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def flat(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in weights(module)])


def test_a_step_without_options_is_plain_sgd():
    learner = learner_of({"optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0})
    before = weights(learner.network)
    step(learner, batch_of())
    for was, parameter in zip(before, learner.network.parameters(), strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.detach(), was - TINY.optimiser.learning_rate * parameter.grad, atol=1e-7)


def test_a_step_leaves_no_state_to_the_next_batch():
    learner = learner_of({})
    step(learner, batch_of(0))
    with SpikeCounter(learner.network) as counter:
        after_a_step, _ = learner.loss(batch_of(1), counter)
        reset_network(learner.network)
        from_rest, _ = learner.loss(batch_of(1), counter)
    assert torch.equal(after_a_step, from_rest)


def test_a_step_leaves_no_gradient_to_the_next_batch():
    plain = {"optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0}
    learner, fresh = learner_of(plain), learner_of(plain)
    step(learner, batch_of(0))
    fresh.network.load_state_dict(learner.network.state_dict())
    for each in (learner, fresh):
        step(each, batch_of(1))
    assert torch.equal(flat(learner.network), flat(fresh.network))


def test_averaging_over_all_steps_scales_the_gradient_of_the_first_ones():
    plain = {"optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0, "grad_steps": 2}
    start = flat(network(TINY))
    moved = []
    for over in ("k", "T"):
        learner = learner_of(plain | {"loss.average_over": over})
        step(learner, batch_of())
        moved.append(flat(learner.network) - start)
    assert moved[0].any() and torch.allclose(moved[1], moved[0] * 2 / 3, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_gradients_longer_than_the_clip_are_shortened_to_it_and_shorter_ones_stay(precision: str):
    plain = {"optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0, "precision": precision}
    for clip in (1e-3, 1e6):
        free, clipped = learner_of(plain), learner_of(plain | {"optimiser.clip_norm": clip})
        step(free, batch_of())
        step(clipped, batch_of())
        start = flat(network(TINY))
        moved = [flat(learner.network) - start for learner in (free, clipped)]
        if clip > 1:
            assert torch.allclose(moved[1], moved[0], rtol=1e-4, atol=1e-9)
        else:
            assert float(moved[1].norm()) == pytest.approx(clip * TINY.optimiser.learning_rate, rel=1e-2)
            assert torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0) > 0.999


@pytest.mark.parametrize("decay", [0.2, 0.99])
def test_the_moving_average_is_the_closed_form_and_is_what_is_evaluated(decay: float):
    learner = learner_of({"optimiser.ema_decay": decay})
    assert learner.evaluated is not learner.network

    def state() -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in learner.network.state_dict().items()}

    step(learner, batch_of(0))
    expected = state()
    for n in range(1, 30):
        step(learner, batch_of(n))
        # Early steps count less than the decay says, for the first weights are random.
        share = 1 - min(decay, (1 + n) / (10 + n))
        expected = {name: was + share * (state()[name] - was) for name, was in expected.items()}
    found = learner.evaluated.state_dict()
    for name, wanted in expected.items():
        if "num_batches" in name:
            assert found[name] == learner.network.state_dict()[name]
        else:
            # Running statistics too: they belong to the averaged weights.
            assert torch.allclose(found[name], wanted, atol=1e-5), name


def test_a_run_keeps_the_averaged_weights_and_goes_on_with_them_bit_for_bit(cache: Path, tmp_path: Path):
    changes = {"optimiser.ema_decay": 0.8, "optimiser.clip_norm": 1.0, "dataset.augmentation": "flip+crop"}
    config = override(TINY, changes)
    train_run(config, tmp_path / "alone", cache)

    class Stop(Exception):
        pass

    def stop(row: dict, timing: dict) -> None:
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train_run(config, tmp_path / "broken", cache, on_epoch=stop)
    train_run(config, tmp_path / "broken", cache)
    assert read_lines(tmp_path / "alone/metrics.jsonl") == read_lines(tmp_path / "broken/metrics.jsonl")
    alone, broken = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("alone", "broken"))
    for part in ("network", "average"):
        assert getattr(alone, part).keys() == getattr(broken, part).keys()
        assert all(torch.equal(value, getattr(broken, part)[name]) for name, value in getattr(alone, part).items())
    assert any(not torch.equal(alone.average[f"module.{name}"], value) for name, value in alone.network.items())
    best = network(config)
    load_weights(tmp_path / "alone/best.pt", best)


def test_step_schedule_is_pytorchs():
    schedule = ScheduleConfig("step", 9, step_epochs=3, step_factor=0.5)
    config = RunConfig(schedule=schedule, optimiser=OptimiserConfig(learning_rate=0.4))
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    theirs = torch.optim.lr_scheduler.StepLR(optimiser, 3, 0.5)
    for epoch in range(1, 10):
        assert learning_rate(config, epoch) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        theirs.step()


def test_patience_stops_after_epochs_without_anything_better_and_resumes_as_stopped(cache: Path, tmp_path: Path):
    # No learning at all: the first epoch stays the best.
    config = override(TINY, {"optimiser.learning_rate": 1e-12, "schedule.patience": 2, "schedule.epochs": 9})
    config = override(config, {"network.batch_norm": "joint"})
    result = train_run(config, tmp_path / "run", cache)
    rows = read_lines(tmp_path / "run/metrics.jsonl")
    assert result["epochs"] == len(rows) == result["epoch"] + 2 < 9
    (tmp_path / "run/result.json").unlink()
    again = train_run(config, tmp_path / "run", cache, on_epoch=lambda *_: pytest.fail("an epoch ran"))
    assert again["epochs"] == result["epochs"]
    with pytest.raises(ConfigError, match=r"schedule.patience: expected selection validation or paper"):
        override(TINY, {"schedule.patience": 2, "selection": "last"})


def test_a_layer_that_is_not_finite_is_named():
    frames = batch_of().frames
    whole = network(TINY)
    assert find_layer(whole, frames).startswith("only the loss, with logits up to 0.")
    assert find_layer(whole, torch.full_like(frames, torch.inf)) == "the input frames"
    broken = network(TINY)
    with torch.no_grad():
        broken.features.conv2.norm.weight[0] = torch.nan
    assert find_layer(broken, frames) == "weight of features.conv2.norm"
    overflowing = network(TINY)
    with torch.no_grad():
        overflowing.features.conv2.conv.weight.fill_(3e38)
    assert find_layer(overflowing, frames).startswith("the output of features.conv2.conv")


def test_a_run_that_diverges_says_step_layer_and_what_to_do(cache: Path, tmp_path: Path):
    config = override(TINY, {"optimiser.learning_rate": 1e30, "optimiser.momentum": 0.0, "optimiser.clip_norm": 1e30})
    with pytest.raises(RunError) as caught:
        train_run(config, tmp_path / "run", cache)
    text = str(caught.value)
    assert "at step 2 of epoch 1. First non-finite value: only the loss, with logits up to " in text
    # It is fp32 already, and clipped.
    assert text.endswith("Lower optimiser.learning_rate.")


def test_an_overflow_of_half_precision_is_found_where_it_happens():
    learner = learner_of({"precision": "fp16", "neuron.name": "relu"})
    with torch.no_grad():
        learner.network.classifier.weight.fill_(1e6)
    with learner.autocast():
        assert find_layer(learner.network, batch_of().frames).startswith("the output of")
    assert find_layer(learner.network, batch_of().frames).startswith("only the loss")


def test_a_run_that_diverges_in_its_last_step_does_not_finish(cache: Path, tmp_path: Path):
    # One step, no selection: only the test split shows what it did.
    changes = {"optimiser.learning_rate": 1e38, "selection": "last", "schedule.epochs": 1, "batch_size": 36}
    with pytest.raises(RunError, match=r"expected a finite loss, found \w+ on the test split. Lower"):
        train_run(override(TINY, changes), tmp_path / "run", cache)
    assert not (tmp_path / "run" / "result.json").exists()


def test_precision_follows_the_device_unless_it_is_named():
    assert resolve_precision("auto", CPU) == "fp32"
    assert resolve_precision("fp16", CPU) == "fp16"


def test_fields_added_later_change_no_fingerprint_and_where_a_run_runs_does_not_either():
    assert fingerprint(RunConfig()) == fingerprint(override(RunConfig(), {"compile": True, "deterministic": True}))
    assert fingerprint(RunConfig()) != fingerprint(override(RunConfig(), {"optimiser.clip_norm": 1.0}))
    one, other = (override(RunConfig(), {"dataset.augmentation": text}) for text in ("flip+roll", "roll+flip"))
    assert fingerprint(one) == fingerprint(other) != fingerprint(RunConfig())


def test_deterministic_mode_is_on_while_a_run_trains_and_off_afterwards(cache: Path, tmp_path: Path):
    seen: list[bool] = []

    def look(*_: dict) -> None:
        seen.append(torch.are_deterministic_algorithms_enabled())

    train_run(override(TINY, {"deterministic": True}), tmp_path / "run", cache, on_epoch=look)
    assert seen == [True] * 3 and not torch.are_deterministic_algorithms_enabled()
    train_run(TINY, tmp_path / "plain", cache)
    assert read_lines(tmp_path / "run/metrics.jsonl") == read_lines(tmp_path / "plain/metrics.jsonl")
