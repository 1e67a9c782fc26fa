"""Fields without effect: what is left out of fingerprints changes nothing, and what changes something is left in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.config.inactive_fields import governors_of, inactive_fields, is_inactive
from pipeline.config.run_config import InputConfig, LossConfig, NeuronConfig, RunConfig, fingerprint, flatten, override
from pipeline.data.input_encoding import encode
from pipeline.evaluation.losses import spiking_loss
from pipeline.neurons import NEURONS, make_neuron
from pipeline.presets.registry import PRESETS
from pipeline.training.optimiser import make_optimiser
from pipeline.training.schedule import learning_rate
from preprocess.binning.binning_config import Binning

# What is published under them stays; those of CIFAR10-DVS but -clif-loss changed with what the authors' codes run, and
# that of PLIF-Net with the loss of the mean rate.
PINNED = {
    "n-mnist-small": "768b646f8381",
    "gestures-hard-small": "bfb9ff7a63d4",
    "gesture-vgg11": "5c5f1deaab47",
    "gesture-plif-net": "e2aaefeffe95",
    "cifar10dvs-vgg11": "362251bd4e62",
    "cifar10dvs-vggsnn-aug": "82784e4bcadd",
    "cifar10dvs-vggsnn-aug-clif-loss": "ca891b3abedb",
    "cifar10dvs-vgg11-t10-pil-aug": "66fc8af1e6d8",
    "gesture-vgg11-k8-tau1.3": "05942ff4beb5",
}

# Of each neuron's fields another value than the default's, which every neuron takes.
OTHERS: dict[str, Any] = {"tau": 3.5, "v_threshold": 0.7, "surrogate": "atan", "alpha": 2.0}


def idle(changes: dict[str, Any]) -> set[str]:
    """Without those of the binning, of which some are idle always."""
    paths = inactive_fields(flatten(override(RunConfig(), changes)))
    return {path for path in paths if not path.startswith("binning.")}


@pytest.mark.parametrize(("name", "expected"), PINNED.items())
def test_fingerprints_of_presets_stay(name: str, expected: str):
    assert fingerprint(PRESETS[name].config) == expected


@pytest.mark.parametrize("field", OTHERS)
@pytest.mark.parametrize("name", NEURONS)
def test_field_is_idle_exactly_where_the_neuron_computes_the_same(name: str, field: str):
    def compute(config: NeuronConfig) -> list[torch.Tensor]:
        torch.manual_seed(0)
        neuron = make_neuron(config)
        x = (2 * torch.rand(6, 3, 8)).requires_grad_()
        spikes = neuron(x)
        (spikes * torch.rand(spikes.shape)).sum().backward()
        assert x.grad is not None
        return [spikes.detach(), x.grad, *(p.grad for p in neuron.parameters() if p.grad is not None)]

    configs = [NeuronConfig(name=name, timesteps=6), NeuronConfig(name=name, timesteps=6, **{field: OTHERS[field]})]
    same = all(torch.equal(a, b) for a, b in zip(*map(compute, configs), strict=True))
    assert is_inactive(f"neuron.{field}", flatten(override(RunConfig(), {"neuron.name": name}))) == same


def test_class_from_outside_hears_everything():
    custom = {"neuron.name": "mine.py:Neuron", "neuron.temporal_window": 3}
    assert not {path for path in idle(custom) if path.startswith("neuron.")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimiser.name": "adamw", "input.size": 8}, {"optimiser.momentum"}),
        ({"optimiser.name": "sgd", "input.size": 8}, set()),
        ({"optimiser.weight_decay": 0.0, "input.size": 8}, {"optimiser.weight_decay_of"}),
        ({"input.size": None}, {"input.resize"}),
        ({"input.size": 8, "input.encoding": "pil-la"}, {"input.resize"}),
        ({"input.size": 8, "loss.mse_weight": 0.0}, {"loss.mse_target"}),
        ({"input.size": 8, "loss.mse_weight": 1.0}, {"loss.label_smoothing"}),
        ({"input.size": 8, "selection": "last"}, {"dataset.validation_fraction"}),
    ],
)
def test_idle_fields_of_a_run(changes: dict[str, Any], expected: set[str]):
    stepped = override(RunConfig(), {"schedule.name": "step"} | changes)
    # Without dropout, a window and a k.
    expected = expected | {"network.dropout_mask", "neuron.truncation", "loss.average_over"}
    # Without warm-up and mixing.
    expected = expected | {"schedule.warmup_learning_rate", "schedule.cosine_from"}
    expected = expected | {"dataset.mixup_alpha", "dataset.mixing_epochs"}
    cosine = {"schedule.min_learning_rate", "schedule.cooldown_epochs"}
    assert idle({"schedule.name": "step"} | changes) == expected | cosine
    assert idle(changes) == expected | {"schedule.step_epochs", "schedule.step_factor"}
    for path in expected | cosine:
        assert fingerprint(override(stepped, {path: _another(path)})) == fingerprint(stepped)


def _another(path: str) -> Any:
    """A value of the field that is not its default."""
    return {
        "optimiser.momentum": 0.5,
        "input.resize": "nearest",
        "loss.mse_target": "one-hot",
        "loss.label_smoothing": 0.1,
        "dataset.validation_fraction": 0.3,
        "network.dropout_mask": "per-step",
        "neuron.truncation": "sliding",
        "loss.average_over": "T",
        "optimiser.weight_decay_of": "weights",
        "dataset.mixup_alpha": 0.5,
        "dataset.mixing_epochs": 3,
        "schedule.warmup_learning_rate": 0.01,
        "schedule.cosine_from": "start",
        "schedule.min_learning_rate": 0.01,
        "schedule.cooldown_epochs": 2,
    }[path]


IMAGES = {"input.encoding": "direct"}


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("dataset.mixup_alpha", {"dataset.augmentation": "mixup"} | IMAGES),
        ("dataset.mixing_epochs", {"dataset.augmentation": "flip+cutmix"} | IMAGES),
        ("network.dropout_mask", {"network.dropout": 0.2}),
        ("neuron.truncation", {"neuron.temporal_window": 3}),
        ("loss.average_over", {"grad_steps": 3}),
        ("loss.average_over", {"loss.last_steps": 3}),
        ("optimiser.weight_decay_of", {"optimiser.weight_decay": 0.1}),
        ("schedule.warmup_learning_rate", {"schedule.warmup_epochs": 3}),
        ("schedule.cosine_from", {"schedule.warmup_epochs": 3}),
    ],
)
def test_field_has_an_effect_with_the_field_that_governs_it(path: str, changes: dict[str, Any]):
    config = override(RunConfig(), {"binning.timesteps": 6} | changes)
    assert set(governors_of(path)) >= changes.keys() - IMAGES.keys() and path not in idle(
        {"binning.timesteps": 6} | changes
    )
    assert fingerprint(override(config, {path: _another(path)})) != fingerprint(config)


def test_loss_does_not_hear_what_is_idle_in_it():
    logits, labels = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.arange(4)

    def loss(**words: Any) -> float:
        return float(spiking_loss(logits, labels, LossConfig(**words)))

    assert loss(mse_weight=0.0) == loss(mse_weight=0.0, mse_target="one-hot")
    assert loss(mse_weight=1.0) == loss(mse_weight=1.0, label_smoothing=0.3)
    assert loss() != loss(mse_target="one-hot") and loss() != loss(label_smoothing=0.3)
    assert loss(last_steps=2, readout="mean") == loss(last_steps=2, readout="mean", average_over="T")


@pytest.mark.parametrize(
    ("words", "same"),
    [({}, True), ({"size": 5}, False), ({"size": 5, "encoding": "pil-la"}, True)],
)
def test_input_hears_how_to_resize_where_it_resizes_by_it(words: dict[str, Any], same: bool):
    counts = torch.randint(0, 4, (2, 3, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    bilinear, nearest = (
        encode(counts, InputConfig(**words, resize=name))  # type: ignore[arg-type]
        for name in ("bilinear", "nearest")
    )
    assert torch.equal(bilinear, nearest) == same


def test_optimiser_and_schedule_do_not_hear_what_is_idle_in_them():
    stepped = {"schedule.step_epochs": 2, "schedule.step_factor": 0.5}
    cosine = {"schedule.min_learning_rate": 0.01, "schedule.cooldown_epochs": 2}
    unused = {"schedule.warmup_learning_rate": 0.01, "schedule.cosine_from": "start"}

    def rates(name: str, changed: dict[str, Any] = stepped) -> tuple[list[float], list[float]]:
        config = override(RunConfig(), {"schedule.name": name, "schedule.epochs": 8})
        return tuple([learning_rate(c, e) for e in range(1, 9)] for c in (config, override(config, changed)))  # type: ignore[return-value]

    assert {name: rates(name)[0] == rates(name)[1] for name in ("cosine", "constant", "step")} == {
        "cosine": True,
        "constant": True,
        "step": False,
    }
    for name, used in (("cosine", True), ("constant", False), ("step", False)):
        for path, value in cosine.items():
            found, changed = rates(name, {path: value})
            assert (found != changed) == used
        assert len({tuple(found) for found in rates(name, unused)}) == 1

    def groups(name: str, momentum: float, **more: Any) -> list[dict[str, Any]]:
        words = {"name": name, "momentum": momentum} | more
        config = override(RunConfig(), {f"optimiser.{word}": value for word, value in words.items()}).optimiser
        groups = make_optimiser(torch.nn.Linear(2, 2), config).param_groups
        return [{word: value for word, value in group.items() if word != "params"} for group in groups]

    for name in ("adamw", "lamb"):
        assert groups(name, 0.9) == groups(name, 0.1)
        assert groups(name, 0.9) != groups(name, 0.9, weight_decay_of="weights")
        assert groups(name, 0.9, weight_decay=0.0) == groups(name, 0.9, weight_decay=0.0, weight_decay_of="weights")
    assert groups("sgd", 0.9) != groups("sgd", 0.1)


@pytest.mark.parametrize("split_by", ["number", "duration", "event_count", "fixed_window"])
def test_binning_is_idle_where_its_plain_form_has_defaults(split_by: Any):
    full = Binning(7, split_by, 2, duration_us=3, event_count=4, overlap=1, include_incomplete=True, start_us=5)
    values = flatten(RunConfig()) | {"binning.split_by": split_by}
    for path in (f"binning.{name}" for name in ("timesteps", "duration_us", "event_count", "overlap", "start_us")):
        name = path.partition(".")[2]
        assert is_inactive(path, values) == (getattr(full.plain(), name) != getattr(full, name))


def test_a_part_that_is_the_whole_is_none_but_its_value_matters():
    config = override(RunConfig(), {"binning.timesteps": 6, "batch_size": 8, "schedule.epochs": 5})
    whole = {"grad_steps": 6, "micro_batch": 8, "schedule.stop_epoch": 5}
    part = {"grad_steps": 5, "micro_batch": 4, "schedule.stop_epoch": 4}
    for path in whole:
        assert fingerprint(override(config, {path: whole[path]})) == fingerprint(config)
        assert fingerprint(override(config, {path: part[path]})) != fingerprint(config)
        assert not is_inactive(path, flatten(override(config, {path: whole[path]})))
    # Where T varies, none of the samples need have six steps.
    varies = {"binning.split_by": "duration", "binning.duration_us": 100}
    assert fingerprint(override(config, varies | {"grad_steps": 6})) != fingerprint(override(config, varies))
