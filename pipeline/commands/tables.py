"""The tables of train and evaluate, and cells of that of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.run_config import RunConfig
from pipeline.runs.changed_code import accepted_sentence
from pipeline.runs.result_json import EvaluationJson, ResultJson
from pipeline.runs.run_folder import Run
from pipeline.runs.trained_neuron import network_title, neuron_title, subject
from preprocess.datasets.splits import shares_recordings

_SELECTIONS = {
    "validation": "best epoch on a validation split of the training samples",
    "paper": "best test accuracy of all epochs, as in the paper: not a held-out result",
    "last": "last epoch, trained on all training samples",
}


def per_cent(fraction: float | None) -> str:
    """Format a fraction as a percentage with two decimals; empty for None."""
    return "" if fraction is None else f"{100 * fraction:.2f}"


def data_name(result: Mapping[str, Any]) -> str:
    """Return the data set's name, marked if it is emulated or if training and test samples share recordings."""
    marks = {"emulated": result["emulated"], "same-recording": shares_recordings(result["split"])}
    shown = ", ".join(mark for mark, applies in marks.items() if applies)
    return f"{result['dataset']} ({shown})" if shown else str(result["dataset"])


def describe_test_accuracy(result: ResultJson) -> str:
    """Format the test accuracy, such as ``98.00 % (98 of 100; 95 % interval 93.0 to 99.4)``.

    Older results have no interval.
    """
    if "test_accuracy" not in result:
        return "none (the data set has no test split)"
    counts = f"{result['correct']} of {result['test_samples']}"
    if "test_accuracy_low" in result:
        low, high = result["test_accuracy_low"], result["test_accuracy_high"]
        counts += f"; 95 % interval {100 * low:.1f} to {100 * high:.1f}"
    return f"{per_cent(result['test_accuracy'])} % ({counts})"


def print_result(result: ResultJson, run: Run) -> None:
    """Print the result of a run."""
    from rich.table import Table

    from preprocess.terminal.console import console

    config = run.config
    table = Table(title=f"{subject(config, run.environment)} on {data_name(result)}", show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    rows = {
        "network": network_title(config),
        "neuron": f"{neuron_title(config, run.environment)}, {config.binning.steps_title}",
        "split, seed": f"{config.dataset.split_title}, {config.seed}",
        "selection": f"{result['selection']}: {_SELECTIONS[result['selection']]}",
        "training samples": _train_samples(result),
        "micro-batches": _micro_batches(result, config),
        "selected epoch": f"{result['epoch']} of {result['epochs']}",
        "validation accuracy": f"{per_cent(result['validation_accuracy'])} %",
        "test accuracy": describe_test_accuracy(result),
        f"firing rate ({_split_of_rate(result)})": f"{result['firing_rate']:.4f}",
        "energy (estimate)": _energy(result),
        "seconds": f"{result['seconds']:.1f}",
        "run folder": str(run.folder),
    }
    if result["validation_accuracy"] is None:
        del rows["validation accuracy"]
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    console().print(table)
    if changed := accepted_sentence(result.get("accepted_changed_code", ())):
        print(changed)


def _split_of_rate(result: ResultJson) -> str:
    """Return the split of the firing rate: the first of test, validation and training that was evaluated."""
    if "test_accuracy" in result:
        return "test"
    return "training" if result["validation_accuracy"] is None else "validation"


def _train_samples(result: ResultJson) -> str:
    """Describe the training samples, such as ``27 (each epoch drops 3 ...)``; "" for older results."""
    if "train_samples" not in result:
        return ""
    left = result["left_out_per_epoch"]
    dropped = f" (each epoch drops {left}, which do not fill a batch)" if left else ""
    return f"{result['train_samples']}{dropped}"


def _micro_batches(result: ResultJson, config: RunConfig) -> str:
    """Describe the gradient accumulation; "" without it."""
    size = result.get("micro_batch")
    if size in (None, config.batch_size):
        return ""
    why = "" if size == config.micro_batch else ", because a full batch did not fit in memory"
    return f"gradients accumulated over micro-batches of {size} to batches of {config.batch_size}{why}"


def _energy(result: ResultJson) -> str:
    """Describe the energy, such as ``3.21 µJ per inference: 10 steps of 0.062 M MACs ...``; "" for older results."""
    if "energy" not in result:
        return ""
    found = result["energy"]
    macs, acs = found["macs_per_step"] / 1e6, found["acs_per_step"] / 1e6
    once = f", {found['macs_once'] / 1e6:.3g} M of the MACs only once" if "macs_once" in found else ""
    others = ""
    if "sparse_uj" in found and "memory_uj" in found:
        others = f"; {found['sparse_uj']:.3g} µJ if zero inputs cost nothing, {found['memory_uj']:.3g} µJ with memory"
    return (
        f"{found['per_inference_uj']:.3g} µJ per inference: {found['timesteps']:g} steps of {macs:.3g} M MACs and "
        f"{acs:.3g} M ACs{once} (as in Table 6 of the paper; without memory accesses{others})"
    )


def print_layers(result: ResultJson) -> None:
    """Print accuracy by class and firing rate by layer."""
    from rich.table import Table

    from preprocess.terminal.console import console

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


def print_steps(result: EvaluationJson, run: Run) -> None:
    """Print the accuracy over the first t time steps, and at other T if they were evaluated."""
    from rich.table import Table

    from pipeline.evaluation.other_timesteps import why_bound
    from preprocess.terminal.console import console

    out, config = console(), run.config
    curve = result["latency_curve"]
    if curve is None:
        name = subject(config, run.environment)
        out.print(f"no accuracy over time: '{name}' computes each time step from all of them")
    else:
        shown = _some_steps(len(curve))
        some = "" if len(shown) == len(curve) else f"; {len(shown)} of {len(curve)} rows, all in evaluation.json"
        table = Table(title=f"Test accuracy after the first t time steps ({config.binning.steps_title}{some})")
        table.add_column("t", justify="right")
        table.add_column("per cent", justify="right")
        for t in shown:
            table.add_row(str(t), per_cent(curve[t - 1]))
        out.print(table)
    if "accuracy_by_timesteps" in result:
        out.print(_timesteps_table(result))
    bound = why_bound(config)
    if bound is not None:
        out.print(f"no accuracy at other T: {bound}")


_MOST_STEPS = 12


def _some_steps(steps: int) -> list[int]:
    """Return evenly spaced steps from 1 to T; evaluation.json and the figure have all steps."""
    rows = min(steps, _MOST_STEPS)
    return sorted({1 + round(k * (steps - 1) / max(rows - 1, 1)) for k in range(rows)})


def _timesteps_table(result: EvaluationJson) -> Any:
    from rich.table import Table

    from pipeline.evaluation.wilson_interval import accuracy_interval

    samples = result["test_samples"]
    table = Table(title="Test accuracy by T (same weights)")
    for name in ("T", "per cent", "95 % interval"):
        table.add_column(name, justify="right")
    for steps, accuracy in result["accuracy_by_timesteps"].items():
        low, high = accuracy_interval(round(accuracy * samples), samples)
        trained = int(steps) == result["timesteps"]
        name = f"{steps} (trained)" if trained else steps
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        table.add_row(name, per_cent(accuracy), interval, style="bold" if trained else None)
    return table


def print_nir(result: EvaluationJson) -> None:
    """Print where a NIR graph was written, and how many predictions are the same when it is read again."""
    if "nir" not in result:
        return
    written = result["nir"]
    print(
        f"NIR graph: {written['file']} ({written['nodes']} nodes, time step {written['time_step_s']:g} s; when read "
        f"again, {written['same_predictions']} of {result['test_samples']} test predictions are the same)"
    )
