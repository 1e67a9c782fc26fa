"""The cost of a run before it is trained: operations, memory, and one real training step on a tiny batch.

Memory is calculated: weights, gradients and optimiser state from the number of parameters; the activations that the
forward pass saves for the backward pass from two tiny batches, because they grow linearly with the batch. The cuDNN
workspace, allocator fragmentation and temporary buffers of operators are not included. A step that does not fit in
memory is not run. Nothing is written.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.cost.operations import Operations, count_run_operations
from pipeline.dry_run.available_memory import available_bytes
from pipeline.dry_run.kept_memory import Kept, keeping
from pipeline.dry_run.memory_estimate import (
    FLOAT32_BYTES,
    cuda_only_bytes,
    estimate_memory,
    expected_bytes,
    optimiser_copies,
)
from pipeline.dry_run.sample_frames import TinyFrames, tiny_frames
from pipeline.networks import SpikeCounter, reset_network
from pipeline.networks.run_network import make_run_network
from pipeline.networks.spiking_layers import describe_spiking_layers
from pipeline.runs.trained_neuron import neuron_title, subject
from pipeline.runtime.device import compute_device, resolve_precision
from pipeline.runtime.distributed import Group, group_from_env
from pipeline.training.learner import Learner
from pipeline.training.non_finite import find_layer
from pipeline.training.schedule import learning_rate
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.plural import counted
from preprocess.terminal.progress import Progress

_STEP_SAMPLES = 2
# A sample that keeps more than this is trained alone, so that a step fits in 4 GB together with PyTorch itself.
_LARGE_SAMPLE_BYTES = 1_000_000_000
# A step peaks at two to three times what its forward pass keeps, measured with VGG11 and LIF, CLIF and PLIF on the CPU.
_PEAK_FACTOR = 3


def dry_run(config: RunConfig, cache: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Calculate the cost of a run, and train one step.

    Args:
        config: Configuration of the run.
        cache: The folder of all caches; only read, and no frame cache is built.
        progress: Reports how many samples have been read to find T, where it varies.

    Returns:
        The object that `train --dry-run --json` prints. Sizes are in bytes, MACs are for one sample in one time step,
        and each dense MAC of a convolution or linear layer is two FLOPs.

    Raises:
        CacheError: If there is no event store, and the data set is not a known one.
        ConfigError: If the configuration does not fit the data, or several processes run.
        RunError: If the loss is not finite.
    """
    if group_from_env().size > 1:
        raise ConfigError("--dry-run: expected a single process, found several. Run it without torchrun.")
    with compute_device(config) as device:
        torch.manual_seed(config.seed)
        tiny = tiny_frames(config, cache, min(_STEP_SAMPLES + 1, config.batch_size), device, progress)
        network = _build(config, tiny, device)
        operations = _count(config, network, tiny, device)
        # With precision auto, CUDA would use another precision than the CPU.
        planned_for_cuda = device.type == "cpu" and config.device == "auto" and config.precision != "auto"
        measured, notes = _train_step(config, tiny, device, operations, as_cuda=planned_for_cuda)
    if measured["skipped"]:
        notes.append(measured["skipped"])
    spiking_layers = describe_spiking_layers(network)
    memory = estimate_memory(config, operations, measured, tiny)
    return {
        "dataset": config.dataset.name,
        "subject": subject(config, spiking_layers),
        "network": config.network.name,
        "neuron": config.neuron.name if spiking_layers["configured_neuron"] else None,
        "neuron_title": neuron_title(config, spiking_layers),
        "frames": tiny.source,
        "event_store": None if tiny.source == "made up" else str(tiny.path),
        "input_size": list(tiny.size),
        "classes": tiny.classes,
        "timesteps": tiny.timesteps,
        "batch_size": config.batch_size,
        "parameters": operations.parameters,
        "neurons": operations.neurons,
        "macs": operations.macs,
        **_work(config, operations, tiny),
        "memory_bytes": memory,
        "cuda_besides_bytes": cuda_only_bytes(config, network, operations, tiny) if planned_for_cuda else None,
        "step": measured,
        "layers": [asdict(layer) | {"binary_input": layer.binary_input} for layer in operations.layers],
        "notes": notes,
    }


def _build(config: RunConfig, tiny: TinyFrames, device: torch.device) -> nn.Module:
    return make_run_network(config, classes=tiny.classes, size=tiny.size, timesteps=tiny.timesteps, device=device)


def _count(config: RunConfig, network: nn.Module, tiny: TinyFrames, device: torch.device) -> Operations:
    return count_run_operations(config, network, tiny.size, tiny.timesteps, device)


def _work(config: RunConfig, operations: Operations, tiny: TinyFrames) -> dict[str, Any]:
    """FLOPs of one training step and of the run; None where the number of samples is not known."""
    grad_steps = min(config.grad_steps or tiny.timesteps, tiny.timesteps)
    # The backward pass costs two forward passes: gradients of the inputs and of the weights.
    changing, once = operations.macs - operations.once_macs, operations.once_macs
    # What does not change over time is computed once, and once more for the time steps without a gradient.
    passes = changing * (tiny.timesteps + 2 * grad_steps) + once * (3 + (grad_steps < tiny.timesteps))
    step = 2 * config.batch_size * passes
    samples = tiny.train_samples
    steps = None if samples is None else config.batches_per_epoch(samples)
    if samples is not None and not config.keep_last:
        samples -= samples % config.batch_size
    return {
        "train_samples": tiny.train_samples,
        "train_samples_from": tiny.train_samples_from,
        "steps_per_epoch": steps,
        "epochs": config.schedule.last_epoch,
        "flops_per_step": step,
        "flops_of_run": None if samples is None else step * samples // config.batch_size * config.schedule.last_epoch,
    }


def _train_step(
    config: RunConfig, tiny: TinyFrames, device: torch.device, operations: Operations, as_cuda: bool
) -> tuple[dict[str, Any], list[str]]:
    """Train a step in the configured precision, or in the nearest supported one; returns notes on the reasons."""
    notes = []
    if config.compile:
        notes.append("the step ran without torch.compile, which may need less memory")
        config = replace(config, compile=False)
    configured = resolve_precision(config.precision, device)
    if configured == "fp16" and device.type == "cpu":
        notes.append("the step ran in bf16, which is as wide as fp16, because CPUs have no fast fp16 kernels")
        config = replace(config, precision="bf16")
    try:
        return _measure(config, tiny, device, operations, as_cuda), notes
    except (RuntimeError, NotImplementedError) as error:
        if configured == "fp32" or device.type != "cpu":
            raise
        reason = " ".join(str(error).split())[:200]
        notes.append(f"the step ran in fp32, which needs more memory: on the CPU {configured} failed ({reason})")
        return _measure(replace(config, precision="fp32"), tiny, device, operations, as_cuda), notes


def _measure(
    config: RunConfig, tiny: TinyFrames, device: torch.device, operations: Operations, as_cuda: bool
) -> dict[str, Any]:
    """Train one step of two samples, after a forward pass with another number of them: the difference is one sample's.

    Samples that need much memory are trained one at a time; all of it then counts as growing with the batch. A step
    that does not fit in memory is not run; if the forward pass does not fit either, the layers' outputs are counted.
    """
    room = available_bytes(device)
    weights = FLOAT32_BYTES * operations.parameters * (2 + optimiser_copies(config.optimiser))

    def fits(kept: float) -> bool:
        return room is None or _PEAK_FACTOR * kept + weights <= room

    def skipped(samples: int, kept: float) -> dict[str, Any]:
        need = _PEAK_FACTOR * kept + weights
        about = f"for {counted(samples, 'sample')} it needs about {need / 1e9:.3g} GB"
        why = f"the step was not run, because {about} and {(room or 0) / 1e9:.3g} GB are free"
        return _described(config, device, samples, kept, kept / samples) | {"skipped": why}

    expected = expected_bytes(config, operations, tiny.timesteps, 1)
    if room is not None and expected > room:
        return skipped(1, expected)
    samples = min(_STEP_SAMPLES, config.batch_size)
    network = _build(config, tiny, device)
    if as_cuda:
        # The CPU saves less memory than CUDA where it skips zeros of spikes. It does not if the layers have hooks.
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda *_: None)
    learner = Learner(config, network, device, Group())
    learner.set_learning_rate(learning_rate(config, 1))
    network.train()
    counter = SpikeCounter(network)

    def forward(number: int) -> tuple[Kept, torch.Tensor]:
        with keeping(network, tiny.first(number), as_cuda=as_cuda) as kept:
            loss, _ = learner.loss(kept.batch, counter)
        return kept, loss

    try:
        other = forward(1)[0]
        if other.bytes > _LARGE_SAMPLE_BYTES or not fits(samples * other.bytes):
            samples = 1
    except ConfigError:
        # Batch norm may need more than one sample; a batch of one that is configured fails here as it will in training.
        reset_network(network)
        other = forward(min(samples + 1, config.batch_size))[0]
    reset_network(network)
    if not fits(samples * other.bytes / len(other.batch.labels)):
        return skipped(len(other.batch.labels), other.bytes)
    start = _now(device)
    kept, loss = forward(samples)
    value = float(loss.detach())
    if not math.isfinite(value):
        layer = find_layer(network, kept.batch.frames)
        low = resolve_precision(config.precision, device) != "fp32"
        raise RunError(
            f"--dry-run: expected a finite loss, found {value}. First non-finite value: {layer}. "
            + ("Choose precision fp32." if low else "The weights are the initial ones: correct what computes it.")
        )
    learner.update(loss)
    found = _described(config, device, samples, kept.bytes, _slope(kept, other))
    return found | {"loss": value, "seconds": _now(device) - start}


def _described(config: RunConfig, device: torch.device, samples: int, kept: float, per_sample: float) -> dict[str, Any]:
    """The entry `step` of the report, to which loss and time are added if the step was run, or else the reason."""
    return {
        "samples": samples,
        "precision": resolve_precision(config.precision, device),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "loss": None,
        "seconds": None,
        "skipped": None,
        "kept_bytes": round(kept),
        "kept_bytes_per_sample": per_sample,
    }


def _slope(a: Kept, b: Kept) -> float:
    """Bytes of one additional sample, without constant parts such as the weights in half precision."""
    samples = len(a.batch.labels) - len(b.batch.labels)
    return (a.bytes - b.bytes) / samples if samples else a.bytes / len(a.batch.labels)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
