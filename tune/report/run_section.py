"""A single run's part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runs.changed_code import KEY, accepted_sentence
from pipeline.runs.run_folder import Run, open_run
from preprocess.datasets.emulated_names import is_emulated
from preprocess.errors import RunError
from tune.comparison.setting_analysis import SELECTIONS
from tune.rendering.labels import neuron_label
from tune.rendering.panels import Panel, confusion_panel, rates_panel, run_panels
from tune.rendering.table import Table, per_cent
from tune.report.frame_strips import read_strips
from tune.report.section import Card, Section, draw_pictures, environment_of, settings_of


def run_section(folder: Path, name: str) -> Section:
    """The section of a run's folder, finished or not.

    Args:
        folder: With `config.json`.
        name: Unique on the page; figures' ids begin with it.

    Raises:
        RunError: If the run is damaged.
        ConfigError: If its configuration is faulty.
    """
    run = open_run(folder)
    config, result = run.config, run.result
    label = neuron_label(config.neuron.name)
    tested = result is not None and result.get("test_accuracy") is not None
    try:
        strips, note = read_strips({label: run}) if tested else ((), "")
        return Section(
            kind="run",
            folder=folder,
            dataset=config.dataset.name,
            title=f"{label} on {config.dataset.name}, {config.binning.steps_title}",
            emulated=_is_emulated(run),
            lead=_lead(run, label),
            sentences=_sentences(run),
            cards=_cards(result) if result else (),
            tables=(_class_table(run, label),) if tested else (),
            pictures=draw_pictures(_panels(run, label), name),
            strips=strips,
            strips_note=note,
            settings=settings_of(config),
            environment=environment_of(run.environment),
        )
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder}: damaged ({error!r}). Delete the run folder and train again.") from None


def _is_emulated(run: Run) -> bool:
    named = is_emulated(run.config.dataset.name)
    return bool(run.result["emulated"]) if run.result else named


def _lead(run: Run, label: str) -> str:
    result, config = run.result, run.config
    if result is None:
        return f"{label} has trained {len(run.metrics)} of {config.schedule.last_epoch} epochs; it is not finished."
    dataset = config.dataset
    where = f"{dataset.name}, {dataset.split_title} split, {config.binning.steps_title}, seed {config.seed}"
    if result.get("test_accuracy") is None:
        return f"{label} reaches {per_cent(result['validation_accuracy'])} % validation accuracy ({where})."
    return (
        f"{label} classifies {result['correct']} of {result['test_samples']} test samples rightly, "
        f"{per_cent(result['test_accuracy'])} % ({where})."
    )


def _sentences(run: Run) -> tuple[str, ...]:
    said = []
    if run.result is not None:
        epoch, epochs = run.result["epoch"], run.result["epochs"]
        said.append(f"Weights: {SELECTIONS[run.config.selection]}, number {epoch} of {epochs}.")
        if run.result.get("test_samples"):
            said.append(f"One test sample is {100 / run.result['test_samples']:.2f} points; one run has no spread.")
    if run.config.selection == "paper":
        said.append("The best epoch was chosen by its test accuracy, so the accuracy is flattering.")
    if changed := accepted_sentence(run.environment.get(KEY, ())):
        said.append(f"{changed}.")
    if _is_emulated(run):
        said.append("The data are emulated: they show that the road works, not how well it does on recordings.")
    return tuple(said)


def _cards(result: Mapping[str, Any]) -> tuple[Card, ...]:
    cards = []
    for split in ("test", "validation"):
        if result.get(f"{split}_accuracy") is not None:
            cards.append(Card(f"{split} accuracy", f"{per_cent(result[f'{split}_accuracy'])} %"))
    cards.append(Card("firing rate", f"{result['firing_rate']:.3f}", "spikes / (neurons × T × samples)"))
    cards.append(Card("training", f"{result['seconds']:.0f} s", f"{result['epochs']} epochs"))
    return tuple(cards)


def _class_table(run: Run, label: str) -> Table:
    assert run.result is not None
    rows = []
    for name, accuracy, row in zip(
        run.result["classes"], run.result["per_class_accuracy"], run.result["confusion"], strict=True
    ):
        rows.append((name, str(sum(row)), per_cent(accuracy)))
    dataset = run.config.dataset
    title = f"{label} by class: {dataset.name}, {dataset.split_title} split, {run.config.binning.steps_title}"
    return Table(title, ("class", "test samples", "accuracy, %"), tuple(rows), "lrr")


def _panels(run: Run, label: str) -> list[Panel]:
    result: Mapping[str, Any] = run.result or {}
    panels = run_panels(run.metrics, result.get("epoch")) if run.metrics else []
    if result.get("confusion"):
        caption = "Test samples by label and prediction."
        panels.append(confusion_panel("Confusion", caption, result["confusion"], result["classes"]))
        panels.append(rates_panel("On the test samples.", {label: result["firing_rates"]}))
    return panels
