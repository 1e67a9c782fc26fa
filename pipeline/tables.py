"""What train, evaluate and runs print: fractions in files become per cent, and every table says how it selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import RunConfig

_SELECTION_WORDS = {
    "validation": "best epoch on a validation split of the training samples",
    "paper": "best test accuracy over the epochs, the paper's convention: not a held-out figure",
    "last": "last epoch, trained on all training samples",
}


def per_cent(fraction: float | None) -> str:
    """A fraction as per cent with two digits; empty for None."""
    return "" if fraction is None else f"{100 * fraction:.2f}"


def data_name(result: dict[str, Any]) -> str:
    """The data set's name, and that it is emulated where it is."""
    return f"{result['dataset']} (emulated)" if result["emulated"] else str(result["dataset"])


def print_result(result: dict[str, Any], config: RunConfig, folder: Path) -> None:
    """Print what one run reached."""
    from rich.table import Table

    from preprocess.console import console

    table = Table(title=f"{config.neuron.name} on {data_name(result)}", show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    rows = {
        "network": f"{config.network.name}, width {config.network.width:g}",
        "neuron": f"{config.neuron.name}, tau {config.neuron.tau:g}, {config.binning.steps_title}",
        "split, seed": f"{result['split']}, {config.seed}",
        "selection": f"{result['selection']}: {_SELECTION_WORDS[result['selection']]}",
        "epoch taken": f"{result['epoch']} of {result['epochs']}",
        "validation accuracy": f"{per_cent(result['validation_accuracy'])} %",
        "test accuracy": f"{per_cent(result['test_accuracy'])} % ({result['correct']} of {result['test_samples']})",
        "firing rate (test)": f"{result['firing_rate']:.4f}",
        "seconds": f"{result['seconds']:.1f}",
        "run folder": str(folder),
    }
    if result["validation_accuracy"] is None:
        del rows["validation accuracy"]
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)


def print_layers(result: dict[str, Any]) -> None:
    """Print accuracy by class and firing rate by layer."""
    from rich.table import Table

    from preprocess.console import console

    out = console()
    classes = Table(title="Test accuracy by class")
    classes.add_column("class", overflow="fold")
    classes.add_column("samples", justify="right")
    classes.add_column("per cent", justify="right")
    for name, row, accuracy in zip(result["classes"], result["confusion"], result["per_class_accuracy"], strict=True):
        classes.add_row(name, str(sum(row)), per_cent(accuracy))
    out.print(classes)
    layers = Table(title="Firing rate by layer (spikes / neurons / T / test samples)")
    layers.add_column("layer", overflow="fold")
    layers.add_column("rate", justify="right")
    for name, rate in result["firing_rates"].items():
        layers.add_row(name, f"{rate:.4f}")
    layers.add_row("all", f"{result['firing_rate']:.4f}", style="bold")
    out.print(layers)
