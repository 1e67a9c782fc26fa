"""The paper's presets are what the released codes run, and say where the paper is ambiguous."""

from __future__ import annotations

import re

import pytest
import torch

from pipeline.commands.presets import _VARIANTS
from pipeline.config.run_config import fingerprint, flatten
from pipeline.data.input_encoding import input_size
from pipeline.networks import build_network
from pipeline.presets.paper import TABLE3, TAUS
from pipeline.presets.paper_images import TABLE3_CIFAR10
from pipeline.presets.registry import PRESETS, find_preset
from preprocess.datasets.registry import find_published


def differing(one: str, other: str) -> dict[str, tuple[object, object]]:
    """The fields in which two presets differ, and their values."""
    values = [flatten(PRESETS[name].config) for name in (one, other)]
    return {path: (values[0][path], values[1][path]) for path in values[0] if values[0][path] != values[1][path]}


def test_vggsnn_is_run_as_in_the_code_of_psn():
    found = flatten(PRESETS["cifar10dvs-vggsnn-aug"].config)
    expected = {
        "dataset.augmentation": "flip+crop",
        "dataset.split": "first-100-test",
        "loss.mse_target": "constant",
        "loss.mse_weight": 1e-3,
        "network.batch_norm": "joint",
        "network.dropout": 0.25,
        "network.dropout_mask": "per-step",
        "network.linear_weights": "torch",
        "precision": "fp32",
        "seed": 100,
        "batch_size": 32,
        "keep_last": True,
        "schedule.epochs": 200,
        "optimiser.learning_rate": 0.1,
    }
    assert {path: found[path] for path in expected} == expected


def test_other_readings_of_vggsnn_differ_as_their_names_say():
    for augmented in ("", "-aug"):
        name = f"cifar10dvs-vggsnn{augmented}"
        assert differing(name, f"{name}-clif-loss") == {
            "network.dropout_mask": ("per-step", "fixed"),
            "network.batch_norm": ("joint", "per-step"),
            "network.linear_weights": ("torch", "normal"),
            "loss.mse_weight": (1e-3, 0.05),
            "loss.mse_target": ("constant", "one-hot"),
            "keep_last": (True, False),
            "seed": (100, 2022),
        }
        repository = flatten(PRESETS[f"{name}-clifrepo"].config)
        assert (repository["network.dropout"], repository["network.linear_weights"]) == (0.0, "torch")
        assert (repository["network.batch_norm"], repository["precision"]) == ("per-step", "fp16")


def test_only_loaders_that_do_so_leave_out_the_last_batch():
    """Of the paper's own experiments, those on DVS-Gesture and those of Table 1 with an asterisk."""
    own = {
        name: preset
        for name, preset in PRESETS.items()
        if name.startswith(("cifar10-resnet18", "cifar100-resnet18", "tiny-imagenet", "gesture-vgg", "cifar10dvs-vgg"))
        and not name.endswith("-glif")
        and "clif-loss" not in name
    }
    dropping = {name for name, preset in own.items() if not preset.config.keep_last}
    expected = {name for name in own if name.startswith("gesture-vgg")}
    assert dropping == expected | {name for name in own if name.startswith("cifar10") and name.endswith("-aug")} - {
        name for name in own if name.startswith("cifar10dvs")
    }


@pytest.mark.parametrize(
    ("row_name", "k", "in_row", "in_cell"),
    [("gesture-vgg11", 20, "97.57", "97.22"), ("cifar10-resnet18", 6, "94.51", "93.73")],
)
def test_one_configuration_with_two_printed_numbers_says_so_in_both_places(
    row_name: str, k: int, in_row: str, in_cell: str
):
    row, cell = PRESETS[row_name], PRESETS[f"{row_name}-k{k}-tau2"]
    assert fingerprint(row.config) == fingerprint(cell.config)
    assert row.paper is not None and f"LIF {in_row}" in row.paper and cell.paper == f"LIF {in_cell}"
    assert in_cell in row.summary and cell.name in row.summary
    assert in_row in cell.summary and row.name in cell.summary


def test_images_are_trained_as_table_5_and_the_authors_commands_say():
    fields = (
        "optimiser.name", "optimiser.weight_decay", "batch_size", "schedule.epochs", "optimiser.learning_rate",
        "network.dropout", "network.batch_norm", "loss.mse_weight", "loss.mse_target", "seed", "precision",
    )  # fmt: skip
    shared = (0.0, "per-step", 0.05, "constant", 2022, "fp16")
    expected = {
        "cifar10-resnet18": ("sgd", 5e-5, 128, 200, 0.1, *shared),
        "cifar100-resnet18": ("sgd", 5e-4, 128, 200, 0.1, *shared),
        "tiny-imagenet-vgg13": ("sgd", 5e-4, 256, 300, 0.1, *shared),
        "tiny-imagenet-vgg13-readme": ("sgd", 5e-4, 128, 300, 0.1, *shared),
        "tiny-imagenet-vgg13-scripts": ("sgd", 1e-4, 256, 200, 0.1, *shared),
    }
    for name, values in expected.items():
        found = flatten(PRESETS[name].config)
        assert tuple(found[field] for field in fields) == values, name
        assert found["input.encoding"] == "direct" and found["binning.timesteps"] == 6
    assert PRESETS["cifar10-resnet18"].config.dataset.augmentation == "crop+flip+cutout"
    assert differing("cifar10-resnet18", "cifar10-resnet18-ann") == {
        "neuron.name": ("lif", "relu"),
        "binning.timesteps": (6, 1),
    }


def test_the_transformers_are_trained_as_their_authors_configuration_says():
    found = flatten(PRESETS["gesture-sdt"].config)
    expected = {
        "binning.timesteps": 16,
        "batch_size": 16,
        # 200 of the cosine, and 10 at its lowest rate.
        "schedule.epochs": 210,
        "schedule.cooldown_epochs": 10,
        "schedule.warmup_epochs": 10,
        "schedule.warmup_learning_rate": 1e-6,
        "schedule.min_learning_rate": 1e-5,
        "schedule.cosine_from": "start",
        "optimiser.name": "lamb",
        "optimiser.clip_norm": 1.0,
        "optimiser.weight_decay_of": "weights",
        "optimiser.learning_rate": 3e-4,
        "optimiser.weight_decay": 0.06,
        "loss.readout": "mean",
        "loss.label_smoothing": 0.1,
        "loss.mse_weight": 0.0,
        "network.batch_norm": "joint",
        "seed": 42,
    }
    assert {path: found[path] for path in expected} == expected
    assert differing("gesture-sdt", "gesture-sdt-sdtrepo") == {
        "neuron.surrogate": ("rect", "sigmoid"),
        "neuron.alpha": (1.0, 4.0),
        "neuron.reset": ("soft", "hard"),
        "neuron.decay_input": (False, True),
        "neuron.detach_reset": (False, True),
    }


def test_the_transformer_on_cifar_is_trained_as_its_authors_configuration_says():
    found = flatten(PRESETS["cifar100-sdt"].config)
    expected = {
        "dataset.augmentation": "flip+randaugment+mixup",
        "dataset.mixup_alpha": 0.5,
        "dataset.mixing_epochs": 200,
        "binning.timesteps": 4,
        "batch_size": 64,
        "schedule.epochs": 310,
        "schedule.warmup_epochs": 20,
        "schedule.cooldown_epochs": 10,
        "schedule.min_learning_rate": 1e-5,
        "optimiser.name": "adamw",
        "optimiser.learning_rate": 3e-4,
        "optimiser.weight_decay": 0.06,
        "optimiser.clip_norm": None,
        "loss.readout": "mean",
        "loss.label_smoothing": 0.1,
        "precision": "fp32",
        "keep_last": False,
    }
    assert {path: found[path] for path in expected} == expected
    assert set(differing("cifar10-sdt", "cifar100-sdt")) == {"dataset.name"}


def test_rows_with_an_asterisk_are_augmented_as_in_the_code_of_psn():
    for name in ("cifar10-resnet18", "cifar10-resnet18-t4", "cifar100-resnet18-t8", "cifar100-resnet18-ann"):
        assert differing(name, f"{name}-aug") == {
            "dataset.augmentation": ("crop+flip+cutout", "flip+trivialaugment+random-erasing+mixup+cutmix"),
            "keep_last": (True, False),
        }
    found = flatten(PRESETS["cifar10-modified-plif-net-psn"].config)
    expected = {
        "dataset.augmentation": "flip+trivialaugment+random-erasing+mixup+cutmix",
        "loss.readout": "mean",
        "loss.label_smoothing": 0.1,
        "loss.mse_weight": 0.0,
        "optimiser.name": "sgd",
        "optimiser.weight_decay": 0.0,
        "schedule.epochs": 1024,
        "precision": "fp16",
        "keep_last": False,
    }
    assert {path: found[path] for path in expected} == expected


def test_quoted_rows_have_the_loss_of_the_mean_output_as_their_authors_codes():
    for name in ("gesture-plif-net", "cifar10-plif-net", "cifar10-resnet18-glif", "cifar10dvs-wide-7b"):
        assert PRESETS[name].config.loss.readout == "mean", name


def _shape(name: str) -> dict[str, object]:
    """What the network of a preset is built from."""
    config = PRESETS[name].config
    form = find_published(config.dataset.name)
    assert form is not None
    height, width = config.binning.size(form.height, form.width)
    return {
        "network": config.network,
        "neuron": config.neuron,
        "channels": config.input.channels,
        "classes": form.classes,
        "size": input_size(config.input, height, width),
        "timesteps": config.binning.timesteps,
    }


def test_every_network_of_the_papers_presets_can_be_built_and_has_the_printed_size():
    """Built without memory, once for each network and neuron."""
    printed = {
        "cifar10-resnet18": 11.2,
        "cifar100-resnet18": 11.2,
        "tiny-imagenet-vgg13": 14.4,
        "gesture-vgg11": 9.5,
        "cifar10dvs-vgg11": 9.5,
    }
    published = {name for name, preset in PRESETS.items() if find_published(preset.config.dataset.name) is not None}
    assert set(printed) < published
    built = set()
    for name in sorted(published, key=lambda name: (name not in printed, name)):
        if PRESETS[name].config.binning.varies:
            continue
        shape = _shape(name)
        key = repr(shape | {"neuron": PRESETS[name].config.neuron.name})
        if key in built:
            continue
        built.add(key)
        with torch.device("meta"):
            network = build_network(**shape, seed=0)  # type: ignore[arg-type]
        count = sum(parameter.numel() for parameter in network.parameters())
        if name in printed:
            assert round(count / 1e6, 1) == printed[name], name
        assert 5e4 < count < 1e8, name


def test_every_preset_is_found_by_name_and_listed():
    assert [find_preset(name).name for name in PRESETS] == list(PRESETS)
    for name, preset in PRESETS.items():
        start = re.match(r"[a-z0-9]+-[a-z0-9]+", name)
        assert start is not None
        assert not preset.variant or start[0] in _VARIANTS, name


HALVES = {"cifar10-resnet18": TABLE3_CIFAR10, "gesture-vgg11": TABLE3}


@pytest.mark.parametrize("row", HALVES)
def test_cells_of_table_3_name_what_the_loss_is_divided_by(row: str):
    timesteps = PRESETS[row].config.binning.timesteps
    for k, cells in HALVES[row].items():
        for tau, accuracy in zip(TAUS, cells, strict=True):
            preset = PRESETS[f"{row}-k{k}-tau{tau:g}"]
            assert preset.config.loss.average_over == "k" and preset.paper == f"LIF {accuracy:.2f}"
            assert (preset.config.grad_steps, preset.config.neuron.tau) == (k, tau)
            assert ("--loss.average-over T" in preset.summary) == (k < timesteps)
