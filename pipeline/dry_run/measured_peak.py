"""Measure the peak memory of one training step and one validation batch of a run, at its batch size."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.cost.operations import count_run_operations
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.dry_run.available_memory import available_bytes
from pipeline.dry_run.memory_estimate import expected_bytes
from pipeline.evaluation.evaluate import evaluate
from pipeline.networks import SpikeCounter
from pipeline.networks.run_network import make_run_network
from pipeline.runtime.device import compute_device
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner
from preprocess.errors import FullMemoryError


def peak_of_one_step(config: RunConfig, cache: Path) -> tuple[float, float]:
    """Run one step and return the peak main memory and peak CUDA memory of this process in bytes; writes nothing.

    Args:
        config: Configuration of the run.
        cache: The folder of all caches.

    Raises:
        FullMemoryError: If the step does not fit in memory; a step that certainly does not fit is not run.
        ConfigError: If the configuration does not fit the data.
        CacheError: If the data set has no event store.
    """
    data = open_data(config, cache, needs_test=False)
    with compute_device(config) as device:
        network = make_run_network(
            config, classes=len(data.classes), size=data.size, timesteps=data.frames.timesteps, device=device
        )
        _refuse_what_cannot_fit(config, network, data, device)
        learner = Learner(config, network, device, Group())
        network.train()
        samples = data.splits.train[: config.batch_size]
        loader = FrameLoader(
            data.frames,
            samples,
            config.batch_size,
            config.input,
            device,
            seed=config.seed,
            training=True,
            keep_last=True,
        )
        with SpikeCounter(network) as counter:
            for batch in loader.batches(1):
                loss, _ = learner.loss(batch, counter)
                learner.update(loss)
        if len(data.splits.validation):
            part = data.splits.validation[: config.batch_size]
            loader = FrameLoader(data.frames, part, config.batch_size, config.input, device, seed=config.seed)
            evaluate(network, loader, config.loss)
        on_gpu = float(torch.cuda.max_memory_reserved(device)) if device.type == "cuda" else 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit), on_gpu


def _refuse_what_cannot_fit(config: RunConfig, network: nn.Module, data: RunData, device: torch.device) -> None:
    """Raise before allocating memory, because a system that runs out of memory may kill other processes."""
    steps = data.frames.timesteps
    operations = count_run_operations(config, network, data.size, steps, device)
    # Fused layers or half precision may need only half of it.
    least = expected_bytes(config, operations, steps, config.micro_batch or config.batch_size) // 2
    room = available_bytes(device)
    if room is not None and least > room:
        raise FullMemoryError(
            f"{device}: expected at least {least / 1e9:.3g} GB for a training step, found {room / 1e9:.3g} GB free. "
            "Lower batch_size, input.size, network.width or binning.timesteps."
        )
