"""A training step on a GPU compared with the same network from SpikingJelly: ``python -m benchmarks.training_gpu``.

    gesture    Spiking-VGG11 of the DVS-Gesture preset with CLIF, T = 20, B = 16
    vggsnn     VGGSNN of CIFAR10-DVS with CLIF, T = 10, B = 32

Every block of both must give equal outputs and gradients before anything is timed. Time and peak memory are measured in
fp16 and bf16, the peak with one of the networks on the device, beside the memory that a dry run computes. Batch norm is
joint, because SpikingJelly's multi-step layer has no other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from spikingjelly.activation_based import functional
from torch import nn

from benchmarks.gpu_timing import peak_memory_mb, seconds_in_turns
from benchmarks.measurements import measured
from benchmarks.measuring import Row, format_table
from benchmarks.residual_peers import copy_weights
from benchmarks.training import plain_step, train_step
from benchmarks.vgg_peers import check_blocks, make_peer
from pipeline.config.run_config import RunConfig, override
from pipeline.data.loader import Batch
from pipeline.dry_run.dry_run import dry_run
from pipeline.layers.blocks import Plan
from pipeline.networks import build_network
from pipeline.networks.spiking_vgg import PLANS
from pipeline.networks.vggsnn import PLAN
from pipeline.presets.registry import find_preset

Step = Callable[[], object]
PRECISIONS = ("fp16", "bf16")


@dataclass(frozen=True)
class Workload:
    """A network and its batch, as a preset has them but for `changes`."""

    title: str
    preset: str
    plan: Plan
    pooled: int | None
    changes: dict[str, Any]


WORKLOADS = {
    "gesture": Workload("Gesture VGG11", "gesture-vgg11", PLANS["spiking-vgg11"], 7, {"batch_size": 16}),
    # The one without dropout: the others draw a mask for each time step, as no layer of SpikingJelly does.
    "vggsnn": Workload("VGGSNN", "cifar10dvs-vggsnn-clifrepo", PLAN, None, {"batch_size": 32, "binning.timesteps": 10}),
}
_TINY = {"network.width": 0.125, "batch_size": 2, "binning.timesteps": 2, "input.size": 32}


@dataclass(frozen=True)
class Arguments:
    """Compare training steps on a GPU.

    Example: python -m benchmarks.training_gpu gesture
    """

    workload: Annotated[Literal["gesture", "vggsnn"], tyro.conf.Positional]
    repeats: int = 9
    """Number of timings, in turns; the median counts."""
    tiny: bool = False
    """Take one bf16 step of a small network on the CPU, to check that the benchmark works and that results are equal;
    the printed times mean nothing, and no memory is measured."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    device = torch.device("cpu" if arguments.tiny else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("benchmarks.training_gpu: expected a CUDA device, found none. On a CPU: benchmarks.training")
    workload = WORKLOADS[arguments.workload]
    changes = {"neuron.name": "clif", "network.batch_norm": "joint", "device": device.type, **workload.changes}
    config = override(find_preset(workload.preset).config, changes | (_TINY if arguments.tiny else {}))
    form = dry_run(override(config, {"precision": "fp32"}), Path("no-cache"))
    check_equal(workload, config, form, device)
    # CPUs have no fast fp16 kernels.
    precisions, repeats, unused = (("bf16",), 1, 0) if arguments.tiny else (PRECISIONS, arguments.repeats, 2)
    found = [row for name in precisions for row in rows(workload, config, name, device, repeats, unused)]
    print(format_table(found))


def check_equal(workload: Workload, config: RunConfig, form: dict[str, Any], device: torch.device) -> None:
    """Stop unless every block of both networks, without dropout, computes the same in float32."""
    # TensorFloat-32 rounds what reaches the threshold.
    torch.backends.cudnn.allow_tf32 = False
    small = override(config, {"network.dropout": 0.0, "network.width": min(config.network.width, 0.25)})
    frames = draw(form, device, steps=4, samples=2).frames
    ours, theirs = _ours(small, form, device), _theirs(workload, small, form, device)
    copy_weights(ours, theirs)
    worst = check_blocks(workload.title, ours, theirs, frames)
    torch.backends.cudnn.allow_tf32 = True
    print(f"every block's outputs are equal, gradients at most {worst:.1e} apart", file=sys.stderr)


def draw(form: dict[str, Any], device: torch.device, *, steps: int, samples: int) -> Batch:
    """Random counts of events, (T, B, 2, H, W)."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 3, (steps, samples, 2, *form["input_size"]), generator=generator).float()
    return Batch(frames.to(device), (torch.arange(samples) % form["classes"]).to(device))


def _ours(config: RunConfig, form: dict[str, Any], device: torch.device) -> nn.Module:
    return (
        build_network(
            config.network,
            config.neuron,
            channels=2,
            classes=form["classes"],
            size=tuple(form["input_size"]),
            timesteps=form["timesteps"],
            seed=0,
        )
        .to(device)
        .train()
    )


def _theirs(workload: Workload, config: RunConfig, form: dict[str, Any], device: torch.device) -> nn.Sequential:
    return make_peer(
        workload.plan,
        "clif",
        channels=2,
        classes=form["classes"],
        size=form["input_size"][0],
        width=config.network.width,
        pooled=workload.pooled,
        dropout=config.network.dropout,
    ).to(device)


def steps_of(
    workload: Workload, config: RunConfig, form: dict[str, Any], device: torch.device
) -> tuple[Callable[[], Step], Callable[[], Step]]:
    """What builds our training step, and what builds SpikingJelly's, in the precision of the configuration."""

    def our_step() -> Step:
        batch = draw(form, device, steps=form["timesteps"], samples=config.batch_size)
        return train_step(config, _ours(config, form, device), batch)

    def their_step() -> Step:
        batch = draw(form, device, steps=form["timesteps"], samples=config.batch_size)
        network = _theirs(workload, config, form, device)
        return plain_step(network, network, batch, config.precision, partial(functional.reset_net, network))

    return our_step, their_step


def rows(
    workload: Workload, config: RunConfig, precision: str, device: torch.device, repeats: int, unused: int
) -> Iterator[Row]:
    """Peak memory of each network by itself, then the time of both in turns."""
    config = override(config, {"precision": precision})
    form = dry_run(config, Path("no-cache"))
    our_step, their_step = steps_of(workload, config, form, device)
    about = f"{workload.title} training step, T = {form['timesteps']}, B = {config.batch_size}, {precision}"
    if device.type == "cuda":
        computed = form["memory_bytes"]["all"] / 1e6
        mine, other = (peak_memory_mb(make) for make in (our_step, their_step))
        measured(f"{precision}-memory", mine / other, "", f"{mine:.0f} MB, SpikingJelly {other:.0f} MB")
        measured(f"{precision}-computed", mine / computed, "", f"{mine:.0f} MB, computed {computed:.0f} MB")
        yield Row(f"{about}, peak memory", f"{mine:.0f} MB", f"{other:.0f} MB", mine / other, 1.0, less=True)
        yield Row(
            f"{about}, peak memory", f"{mine:.0f} MB", f"dry run {computed:.0f} MB", mine / computed, 1.5, less=True
        )
    fused, plain = seconds_in_turns([our_step(), their_step()], device, repeats, unused)
    measured(f"{precision}-speed", plain / fused, "", f"{1000 * fused:.3g} ms, SpikingJelly {1000 * plain:.3g} ms")
    yield Row(about, f"{1000 * fused:.3g} ms", f"SpikingJelly {1000 * plain:.3g} ms", plain / fused, 1.0)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
