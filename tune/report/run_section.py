"""The section of a single run on the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runs.changed_code import KEY, accepted_sentence
from pipeline.runs.run_folder import Run, open_run
from pipeline.runs.trained_neuron import is_configured_neuron, network_label, unused_fields
from preprocess.datasets.emulated_names import is_emulated
from preprocess.errors import RunError
from preprocess.terminal.plural import counted
from tune.comparison.setting_analysis import SELECTIONS
from tune.rendering.confusion_matrix import confusion_panel
from tune.rendering.firing_rate_figure import rates_panel
from tune.rendering.labels import neuron_label
from tune.rendering.panels import Panel
from tune.rendering.run_curves import run_panels
from tune.rendering.table import Table, format_percent
from tune.report.analysis_parts import analysis_parts
from tune.report.frame_strips import read_strips
from tune.report.section import Card, Section, draw_pictures, environment_of, open_with, settings_of


def run_section(folder: Path, name: str) -> Section:
    """The section of a run's folder, finished or not.

    Args:
        folder: Contains `config.json`.
        name: Unique on the page; prefix of its figures' ids.

    Raises:
        RunError: If the run is damaged.
        ConfigError: If its configuration is invalid.
    """
    run = open_run(folder)
    config, result = run.config, run.result
    configured = is_configured_neuron(config, run.environment)
    label = neuron_label(config.neuron.name) if configured else network_label(config)
    tested = result is not None and result.get("test_accuracy") is not None
    try:
        strips, note = read_strips({label: run}) if tested else ((), "")
        parts, errors = analysis_parts(folder, name)
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
            pictures=open_with(draw_pictures(_panels(run, label), name), "Accuracy, %"),
            strips=strips,
            strips_note=note,
            parts=parts,
            errors=errors,
            settings=settings_of(config, leave_out=unused_fields(config, run.environment)),
            environment=environment_of(run.environment),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        # Values that are missing, or tables of other sizes than the classes.
        raise RunError(f"{folder}: damaged ({error!r}). Delete the run folder and train again.") from None


def _is_emulated(run: Run) -> bool:
    named = is_emulated(run.config.dataset.name)
    return bool(run.result["emulated"]) if run.result else named


def _lead(run: Run, label: str) -> str:
    result, config = run.result, run.config
    if result is None:
        epochs = f"{len(run.metrics)} of {counted(config.schedule.last_epoch, 'epoch')}"
        return f"{label} was trained for {epochs}; the run is not finished."
    dataset = config.dataset
    where = f"{dataset.name}, {dataset.split_title} split, {config.binning.steps_title}, seed {config.seed}"
    if result.get("test_accuracy") is None:
        return f"{label} reaches {format_percent(result['validation_accuracy'])} % validation accuracy ({where})."
    return (
        f"{label} classifies {result['correct']} of {result['test_samples']} test samples correctly, "
        f"{format_percent(result['test_accuracy'])} % ({where})."
    )


def _sentences(run: Run) -> tuple[str, ...]:
    notes = []
    if run.result is not None:
        epoch, epochs = run.result["epoch"], run.result["epochs"]
        notes.append(f"Evaluated weights: {SELECTIONS[run.config.selection]} (epoch {epoch} of {epochs}).")
        if run.result.get("test_samples"):
            points = 100 / run.result["test_samples"]
            notes.append(
                f"Resolution: one test sample = {points:.2f} percentage points. A single run gives no estimate of the "
                "spread over seeds."
            )
    if run.config.selection == "paper":
        notes.append("The best epoch was selected by test accuracy, so the accuracy is optimistically biased.")
    if changed := accepted_sentence(run.environment.get(KEY, ())):
        notes.append(f"{changed}.")
    if _is_emulated(run):
        notes.append("The data are emulated (synthetic): a check of the pipeline, not evidence about real recordings.")
    return tuple(notes)


def _cards(result: Mapping[str, Any]) -> tuple[Card, ...]:
    cards = []
    for split in ("test", "validation"):
        if result.get(f"{split}_accuracy") is not None:
            cards.append(Card(f"{split} accuracy", f"{format_percent(result[f'{split}_accuracy'])} %"))
    cards.append(Card("firing rate", f"{result['firing_rate']:.3f}", "spikes / (neurons × T × samples)"))
    cards.append(Card("training", f"{result['seconds']:.0f} s", counted(result["epochs"], "epoch")))
    return tuple(cards)


def _class_table(run: Run, label: str) -> Table:
    assert run.result is not None
    rows = []
    for name, accuracy, row in zip(
        run.result["classes"], run.result["per_class_accuracy"], run.result["confusion"], strict=True
    ):
        rows.append((name, str(sum(row)), format_percent(accuracy)))
    dataset = run.config.dataset
    title = f"{label} by class: {dataset.name}, {dataset.split_title} split, {run.config.binning.steps_title}"
    return Table(title, ("class", "test samples", "accuracy, %"), tuple(rows), "lrr")


def _panels(run: Run, label: str) -> list[Panel]:
    result: Mapping[str, Any] = run.result or {}
    panels = run_panels(run.metrics, result.get("epoch")) if run.metrics else []
    if result.get("confusion"):
        caption = "Number of test samples by label and prediction."
        panels.append(confusion_panel("Confusion", caption, result["confusion"], result["classes"]))
        panels.append(rates_panel("Measured on the test samples.", {label: result["firing_rates"]}))
    return panels
