"""The paper's presets are what the released codes run, and say where the paper is ambiguous."""

from __future__ import annotations

from pipeline.config.run_config import fingerprint, flatten
from pipeline.presets.paper import TABLE3, TAUS
from pipeline.presets.registry import PRESETS


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


def test_only_the_loader_of_dvs_gesture_leaves_out_the_last_batch():
    dropping = {preset.config.dataset.name for preset in PRESETS.values() if not preset.config.keep_last}
    kept = {name for name, preset in PRESETS.items() if preset.config.keep_last}
    assert "dvs-gesture" in dropping
    assert kept and all(name.startswith("cifar10dvs-vgg") and not name.count("clif-loss") for name in kept)


def test_one_configuration_with_two_printed_numbers_says_so_in_both_places():
    row, cell = PRESETS["gesture-vgg11"], PRESETS["gesture-vgg11-k20-tau2"]
    assert fingerprint(row.config) == fingerprint(cell.config)
    assert row.paper is not None and "97.57" in row.paper and cell.paper == "LIF 97.22"
    assert "97.22" in row.summary and cell.name in row.summary
    assert "97.57" in cell.summary and row.name in cell.summary


def test_cells_of_table_3_name_what_the_loss_is_divided_by():
    for k in TABLE3:
        for tau in TAUS:
            preset = PRESETS[f"gesture-vgg11-k{k}-tau{tau:g}"]
            assert preset.config.loss.average_over == "k"
            assert ("--loss.average-over T" in preset.summary) == (k < 20)
