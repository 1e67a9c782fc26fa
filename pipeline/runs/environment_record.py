"""The environment of a run, as in its `environment.json`: versions, machine, device, threads, and custom code."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from pipeline.config.custom_classes import outside_sources
from pipeline.config.run_config import RunConfig
from pipeline.runs.run_folder import FORMAT_VERSION
from pipeline.runtime.device import resolve_precision
from pipeline.runtime.distributed import group_from_env

_PACKAGES = ("spikeloom", "torch", "spikingjelly", "numpy", "numba", "h5py")


def describe_environment(
    config: RunConfig,
    network: torch.nn.Module,
    layers: Mapping[str, Any],
    device: torch.device,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return plain values for `environment.json`.

    Args:
        config: The run's configuration.
        network: Its network, whose parameters are counted.
        layers: What `pipeline.networks.spiking_layers.describe_spiking_layers` says about the network.
        device: The device that it computes on.
        command: The command line; that of this process if None.
    """
    return {
        "format": FORMAT_VERSION,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "host": platform.node(),
        "process": os.getpid(),
        "processor": processor_name(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "processes": group_from_env().size,
        "precision": resolve_precision(config.precision, device),
        **layers,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "outside": outside_sources(config),
        "command": list(sys.argv if command is None else command),
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor_name() -> str:
    """The name of the processor; its architecture if Linux does not report the name."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
