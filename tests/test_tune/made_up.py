"""Run and comparison folders of the real shape with made-up numbers, for tests of what reads folders."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tiny_layout import random_events, tiny_layout

from pipeline.config.run_config import DatasetConfig, RunConfig, ScheduleConfig, fingerprint, to_dict
from pipeline.runs.run_folder import open_run
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.files import write_json, write_lines
from preprocess.store.cache_file_names import frames_path
from preprocess.store.event_store import open_events
from tune.comparison.comparison_plan import Comparison, compare_neurons
from tune.search.search_plan import Search, SearchData
from tune.trials.ledger import Ledger

CLASSES = ("circle", "swipe", "wave")

CONFIG = RunConfig(
    dataset=DatasetConfig(name="emulated-gestures"),
    binning=Binning(timesteps=4),
    schedule=ScheduleConfig(epochs=5),
    batch_size=4,
    selection="last",
)


def make_cache(folder: Path) -> Path:
    """A cache folder with an event store and frames for `CONFIG`, 24 samples, 8x10 pixels."""
    events = [random_events(seed) for seed in range(24)]
    layout = replace(tiny_layout(folder / "source", events), name="emulated-gestures", classes=CLASSES)
    build_event_store(layout, folder / "cache")
    ensure_frames(folder / "cache", "emulated-gestures", CONFIG.binning)
    return folder / "cache"


def write_run(
    folder: Path,
    config: RunConfig,
    correct: int = 30,
    *,
    samples: int = 40,
    cache: Path | None = None,
    began: float = 1000.0,
) -> dict[str, Any]:
    """A finished run with so many test samples right; its `result.json`."""
    rng = np.random.default_rng(config.seed + len(config.neuron.name))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", to_dict(config))
    epochs = config.schedule.epochs
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / 3) + rng.normal(0, 0.01, epochs)
    metrics = [
        {
            "epoch": epoch + 1,
            "train_loss": float(2.2 - 1.5 * rise[epoch]),
            "train_accuracy": float(min(1, rise[epoch])),
            "validation_loss": float(2.3 - rise[epoch]) if config.selection == "validation" else None,
            "validation_accuracy": float(min(1, 0.9 * rise[epoch])) if config.selection == "validation" else None,
            "learning_rate": 0.1,
            "firing_rate": 0.08,
            "energy_uj": 4.0 * config.binning.timesteps + len(config.neuron.name),
        }
        for epoch in range(epochs)
    ]
    write_lines(folder / "metrics.jsonl", metrics)
    timings = {"epoch_s": 2.5, "samples_per_s": 100.0, "waiting_share": 0.01, "peak_memory_mb": None}
    write_lines(
        folder / "timings.jsonl", [{"epoch": k + 1, "ended": began + 2.5 * (k + 1)} | timings for k in range(epochs)]
    )
    environment: dict[str, Any] = {"versions": {"python": "3.11", "torch": "2"}, "device": "cpu", "threads": 1}
    names = np.array([f"sämple{i}" for i in range(samples)])
    labels = np.arange(samples) % len(CLASSES)
    if cache is not None:
        store = open_events(cache / config.dataset.name / "events.h5")
        tested = np.flatnonzero(store.samples.split == 1)
        names = np.char.add("other", names)
        names[: len(tested)], labels[: len(tested)] = store.samples.name[tested], store.samples.label[tested]
        frames = frames_path(cache, config.dataset.name, config.binning, store.height, store.width)
        environment |= {"cache": str(cache), "frames": str(frames)}
    predicted = np.where(np.arange(samples) < correct, labels, (labels + 1) % len(CLASSES))
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(confusion, (labels, predicted), 1)
    result = {
        "fingerprint": fingerprint(config),
        "dataset": config.dataset.name,
        "emulated": config.dataset.name.startswith("emulated-"),
        "split": config.dataset.split,
        "selection": config.selection,
        "timesteps": config.binning.timesteps,
        "classes": list(CLASSES),
        "epoch": epochs,
        "epochs": epochs,
        "validation_accuracy": metrics[-1]["validation_accuracy"],
        "test_loss": 0.7,
        "test_accuracy": correct / samples,
        "test_samples": samples,
        "correct": correct,
        "per_class_accuracy": (confusion.diagonal() / confusion.sum(1)).tolist(),
        "confusion": confusion.tolist(),
        "firing_rate": 0.08,
        "energy_uj": metrics[-1]["energy_uj"],
        "firing_rates": {"layers.0": 0.11, "layers.1": 0.07, "layers.2": 0.05},
        "seconds": 2.5 * epochs,
    }
    write_json(folder / "result.json", result)
    write_json(folder / "environment.json", environment)
    np.savez_compressed(folder / "predictions.npz", name=names, label=labels, logits=np.eye(len(CLASSES))[predicted])
    return result


def write_weights(folder: Path, cache: Path) -> None:
    """Give a run that was written with a cache the weights that its network begins with."""
    import torch

    from pipeline.data.run_data import open_data
    from pipeline.networks import build_network
    from pipeline.runs.checkpoint import save_weights

    config = open_run(folder).config
    data = open_data(config, cache)
    steps = data.frames.timesteps
    torch.manual_seed(0)
    network = build_network(
        config.network, config.neuron, channels=2, classes=len(CLASSES), size=data.size, timesteps=steps, seed=1
    )
    save_weights(folder / "best.pt", network, config.schedule.epochs)


def write_large_search(folder: Path, trials: int, epochs: int) -> Search:
    """A search over T, tau, neuron and a range of learning rates; each third trial was pruned. They ran one by one."""
    schedule = replace(CONFIG.schedule, epochs=epochs)
    config = replace(CONFIG, selection="validation", schedule=schedule)
    fields = ("binning.timesteps", "neuron.tau", "neuron.name", "optimiser.learning_rate")
    grid = itertools.cycle(itertools.product((4, 8, 16), (1.25, 1.5, 2.0, 3.0), ("lif", "clif", "plif")))
    rates = np.random.default_rng(0).uniform(0.01, 0.3, trials)
    values = tuple(dict(zip(fields, (*next(grid), float(rate)), strict=True)) for rate in rates)
    words = ("binning.timesteps=4,8,16", "neuron.tau=1.25,1.5,2,3", "neuron.name=lif,clif,plif")
    data = SearchData(emulated=True, train=275, validation=55)
    search = Search("gestures-small", config, words, fields, values, "asha", folder / "no-cache", data)
    folder.mkdir(parents=True, exist_ok=True)
    search.write(folder)
    ledger = Ledger(folder)
    for k, trial in enumerate(search.configs()):
        write_run(ledger.trial_folder(trial), replace(trial, seed=k), began=1000.0 + 40 * k)
        write_json(ledger.trial_folder(trial) / "config.json", to_dict(trial))
        ledger.end(trial, "pruned" if k % 3 == 2 else "done")
    return search


def write_curve(folder: Path, config: RunConfig, accuracies: list[float]) -> None:
    """The learning curve of a run, by its training accuracies."""
    rows = [
        {
            "epoch": k + 1,
            "train_loss": 2 * (1 - value),
            "train_accuracy": value,
            "learning_rate": 0.1,
            "firing_rate": 0.1,
        }
        for k, value in enumerate(accuracies)
    ]
    write_lines(Ledger(folder).trial_folder(config) / "metrics.jsonl", rows)


def write_comparison(
    folder: Path, correct: dict[str, list[int | None]], *, config: RunConfig = CONFIG, cache: Path | None = None
) -> Comparison:
    """A comparison with so many test samples right by neuron and seed; a run of None failed."""
    seeds = tuple(range(7, 7 + len(next(iter(correct.values())))))
    comparison = compare_neurons("gestures-small", config, tuple(correct), seeds, cache or folder / "no-cache")
    write_comparison_runs(folder, comparison, {("", neuron): counts for neuron, counts in correct.items()}, cache)
    return comparison


def write_comparison_runs(
    folder: Path,
    comparison: Comparison,
    correct: dict[tuple[str, str], list[int | None]],
    cache: Path | None = None,
    cause: str = "the loss was nan at step 3 of epoch 2",
    samples: int = 40,
) -> None:
    """Its folder, with so many test samples right by setting and arm; a run of None failed of the cause."""
    folder.mkdir(parents=True, exist_ok=True)
    comparison.write(folder)
    ledger = Ledger(folder)
    for setting, arm in comparison.cells():
        for seed, count in zip(comparison.seeds, correct[setting.name, arm.name], strict=True):
            run = comparison.config_of(setting, arm, seed)
            if count is None:
                ledger.trial_folder(run).mkdir(parents=True)
                ledger.end(run, "failed", cause)
            else:
                write_run(ledger.trial_folder(run), run, count, samples=samples, cache=cache)
                ledger.end(run, "done")


def write_search(folder: Path, *, failed: int = 1, seeds: tuple[int, ...] = ()) -> Search:
    """A search over T, tau and neuron on 55 validation samples; its last runs failed. They ran one after another."""
    config = replace(CONFIG, selection="validation")
    fields = ("binning.timesteps", "neuron.tau", "neuron.name")
    trials = tuple(
        dict(zip(fields, values, strict=True)) for values in itertools.product((2, 4), (1.5, 2.0), ("lif", "clif"))
    )
    words = ("binning.timesteps=2,4", "neuron.tau=1.5,2", "neuron.name=lif,clif")
    data = SearchData(emulated=True, train=275, validation=55)
    search = Search("gestures-small", config, words, fields, trials, "none", folder / "no-cache", data, seeds=seeds)
    folder.mkdir(parents=True, exist_ok=True)
    search.write(folder)
    ledger = Ledger(folder)
    configs = search.configs()
    for k, trial in enumerate(configs):
        trial_folder = ledger.trial_folder(trial)
        if k < len(configs) - failed:
            write_run(trial_folder, trial, began=1000.0 + 20 * k)
            ledger.end(trial, "done")
        else:
            trial_folder.mkdir(parents=True)
            ledger.end(trial, "failed", "its process died: out of memory")
    return search
