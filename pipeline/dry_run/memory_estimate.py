"""Memory of a training run by calculation: weights, gradients, optimiser state, activations and frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pipeline.config.run_config import OptimiserConfig, RunConfig
from pipeline.cost.operations import Operations
from pipeline.dry_run.sample_frames import TinyFrames
from pipeline.kernels.tensors import is_repeated
from pipeline.layers.pooling import AveragePool

FLOAT32_BYTES = 4


def estimate_memory(
    config: RunConfig, operations: Operations, measured: dict[str, Any], tiny: TinyFrames
) -> dict[str, int]:
    """Memory in bytes at the configured batch size, by part and in total."""
    weights = FLOAT32_BYTES * operations.parameters
    parts = {
        "parameters": weights,
        "gradients": weights,
        "optimiser": optimiser_copies(config.optimiser) * weights,
        "average": 0 if config.optimiser.ema_decay is None else weights,
        "activations": round(
            measured["kept_bytes"] + (config.batch_size - measured["samples"]) * measured["kept_bytes_per_sample"]
        ),
        "frames": _bytes_of_sample(tiny.batch.frames) * config.batch_size,
    }
    return {**parts, "all": sum(parts.values())}


def _bytes_of_sample(frames: torch.Tensor) -> int:
    """Bytes of a sample's frames; the time steps of an image share those of one."""
    return (frames[:1] if is_repeated(frames) else frames)[:, 0].nbytes


def optimiser_copies(optimiser: OptimiserConfig) -> int:
    """Number of values that the optimiser stores per weight: two moments for AdamW and LAMB, the momentum for SGD."""
    return int(optimiser.momentum > 0) if optimiser.name == "sgd" else 2


def cuda_only_bytes(config: RunConfig, network: nn.Module, operations: Operations, tiny: TinyFrames) -> int:
    """Bytes that the CUDA kernels save in addition to those of the CPU, at the configured batch size.

    Average pooling saves its input.
    """
    per_step = 0
    for layer in operations.layers:
        module = network.get_submodule(layer.name)
        if isinstance(module, AveragePool):
            # Four inputs for each output, in the configured precision.
            per_step += 4 * layer.outputs * (FLOAT32_BYTES if config.precision == "fp32" else 2)
    grad_steps = min(config.grad_steps or tiny.timesteps, tiny.timesteps)
    return per_step * grad_steps * config.batch_size


def expected_bytes(config: RunConfig, operations: Operations, timesteps: int, samples: int) -> int:
    """Estimate what a forward pass saves for the backward pass: the outputs of all layers and steps in float32.

    Fused layers on the CPU and half precision save less, down to half of it; custom functions are not counted.

    Args:
        config: The run's configuration.
        operations: The operations of its network.
        timesteps: T; that of the longest sample if it varies.
        samples: Number of samples in the batch.
    """
    grad_steps = min(config.grad_steps or timesteps, timesteps)
    steps = sum(layer.outputs * (1 if layer.once else grad_steps) for layer in operations.layers)
    return FLOAT32_BYTES * steps * samples
