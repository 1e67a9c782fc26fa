"""The table that `train --dry-run` prints."""

from __future__ import annotations

from typing import Any

from pipeline.config.run_config import RunConfig
from pipeline.runs.trained_neuron import network_title
from preprocess.terminal.plural import counted

_MEMORY_TITLES = {
    "parameters": "parameters",
    "gradients": "gradients",
    "optimiser": "optimiser state",
    "average": "moving average of the weights",
    "activations": "activations saved for the backward pass",
    "frames": "input frames",
}
_LIMITS = (
    "Memory is calculated, not measured. It does not include the cuDNN workspace, allocator fragmentation and "
    "temporary buffers of operators.",
    "FLOPs: 2 per dense MAC in the forward pass, 4 in the backward pass. Evaluation after each epoch is not included.",
)


_SAMPLES_FROM = {
    "event store": "counted in the event store",
    "official number": "the official number",
    "official number less the validation share": "the official number minus the validation samples",
}


def print_dry_run(report: dict[str, Any], config: RunConfig) -> None:
    """Print the report of a dry run; see `pipeline.dry_run.dry_run.dry_run`."""
    from rich.table import Table

    from preprocess.terminal.console import console

    out = console()
    title = f"Dry run: {report['subject']} on {report['dataset']} (nothing is written)"
    table = Table(title=title, show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    for rows in (_network_rows(report, config), _work_rows(report), _memory_rows(report), _step_rows(report)):
        for name, value in rows.items():
            table.add_row(name, value)
        table.add_section()
    out.print(table)
    for line in (*_LIMITS, *(f"Note: {note}." for note in report["notes"])):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _network_rows(report: dict[str, Any], config: RunConfig) -> dict[str, str]:
    rows, columns = report["input_size"]
    made_up = report["frames"] == "made up"
    values = {
        "network": f"{network_title(config)}, {report['classes']} classes",
        "neuron": f"{report['neuron_title']}, T = {report['timesteps']}",
        "input": f"{config.input.channels} x {rows} x {columns}, batch size {report['batch_size']}",
        "frames": "random, because there is no event store" if made_up else "training samples",
        "event store": report["event_store"],
        "parameters": f"{report['parameters']:,}",
        "neurons": f"{report['neurons']:,}",
    }
    return {name: value for name, value in values.items() if value is not None}


def _work_rows(report: dict[str, Any]) -> dict[str, str]:
    if report["flops_of_run"] is None:
        total = "unknown: without an event store, the number of training samples is unknown"
    else:
        total = (
            f"{_flops(report['flops_of_run'])} ({counted(report['epochs'], 'epoch')} of "
            f"{counted(report['steps_per_epoch'], 'step')}; {counted(report['train_samples'], 'training sample')}, "
            f"{_SAMPLES_FROM[report['train_samples_from']]})"
        )
    return {
        "MACs per sample and time step": f"{report['macs'] / 1e6:,.2f} M, dense",
        "FLOPs per training step": _flops(report["flops_per_step"]),
        "FLOPs of the run": total,
    }


def _memory_rows(report: dict[str, Any]) -> dict[str, str]:
    memory = report["memory_bytes"]
    rows = {f"memory: {title}": _gigabytes(memory[part]) for part, title in _MEMORY_TITLES.items() if memory[part]}
    rows["total memory"] = _gigabytes(memory["all"])
    if report["cuda_besides_bytes"]:
        besides = report["cuda_besides_bytes"]
        rows["total memory on CUDA"] = (
            f"{_gigabytes(memory['all'] + besides)} (its kernels save {_gigabytes(besides)} more than those of the CPU)"
        )
    return rows


def _step_rows(report: dict[str, Any]) -> dict[str, str]:
    step = report["step"]
    if step["skipped"]:
        return {"one step": "not run; see the note"}
    threads = f", {counted(step['threads'], 'thread')}" if step["device"] == "cpu" else ""
    samples = counted(step["samples"], "sample")
    return {
        "one step": f"{step['seconds']:.2f} s for {samples}, {step['precision']} on {step['device']}{threads}",
        "loss of the step": f"{step['loss']:.4f}",
    }


def _flops(count: int) -> str:
    """Format a number of FLOPs, such as ``9.82 TFLOP``."""
    for unit, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if count >= unit:
            return f"{count / unit:,.2f} {letter}FLOP"
    return f"{count:,} FLOP"


def _gigabytes(count: int) -> str:
    """Format a number of bytes in GB, or in MB below 0.1 GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
