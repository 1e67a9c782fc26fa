"""Train small networks through the Triton kernels, under Triton's interpreter, and through those of the CPU.

    TRITON_INTERPRET=1 python tests/interpreted_steps.py

A program of its own, because Triton reads the variable as it is loaded. Writes one line of JSON for each case: the
largest relative difference of each part of the state after a few steps, and how often each kernel was launched.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from tolerances import relative

from pipeline.config.run_config import RunConfig, override
from pipeline.data.loader import Batch
from pipeline.kernels import norm_cuda
from pipeline.kernels import triton as shared
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.networks import SpikeCounter, build_network
from pipeline.neurons.clif import cuda_kernels as clif_cuda
from pipeline.neurons.clif import cuda_with_norm_kernels as clif_with_norm
from pipeline.neurons.lif import cuda_kernels as lif_cuda
from pipeline.neurons.lif import cuda_with_norm_kernels as lif_with_norm
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner

STEPS, BATCH, SIZE = 3, 4, (16, 16)
UPDATES = {"fp32": 3, "bf16": 2, "fp16": 2}
"""In half precision, what differs in the last bit of a weight soon differs in a spike."""
VGG = {"network.name": "spiking-vgg-small", "network.width": 1 / 16, "network.head": "gap"}
NARROW = VGG | {"network.width": 1 / 32}
"""For the kernels that have a program for each channel, of which the interpreter runs one after another."""
CASES: dict[str, dict[str, Any]] = {
    "clif-fp32": VGG | {"neuron.name": "clif", "precision": "fp32"},
    "clif-bf16": NARROW | {"neuron.name": "clif", "precision": "bf16", "network.batch_norm": "joint"},
    "clif-fp16": VGG | {"neuron.name": "clif", "precision": "fp16", "optimiser.name": "adamw"},
    "lif-fp32": NARROW | {"neuron.name": "lif", "precision": "fp32", "grad_steps": 2, "neuron.decay_input": True},
    "lif-bf16": VGG | {"neuron.name": "lif-reset1.8", "precision": "bf16", "micro_batch": 2},
    "recurrent": {"network.name": "rsnn", "network.width": 1 / 16, "neuron.name": "clif", "precision": "fp32"},
}
APART = ("clif-fp32", "clif-fp16", "lif-bf16")
"""Cases whose batch norms and neurons run apart. On the CPU, those in float16 always do."""
COMMON = {
    "neuron.surrogate": "atan", "neuron.alpha": 2.0,
    "optimiser.learning_rate": 0.02, "optimiser.clip_norm": 1.0, "optimiser.ema_decay": 0.9, "seed": 3
}  # fmt: skip


class CountedLaunches:
    """A kernel whose launches are counted."""

    def __init__(self, kernel: Any, name: str, counts: Counter[str]) -> None:
        self._kernel, self._name, self._counts = kernel, name, counts

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        self._counts[self._name] += 1
        return self._kernel[grid]


@contextlib.contextmanager
def through_triton() -> Iterator[Counter[str]]:
    """A context in which neurons take tensors on the CPU for tensors on CUDA; yields the number of launches."""
    counts: Counter[str] = Counter()
    kernels = {(module, name): vars(module)[name] for module in MODULES for name in vars(module) if "_kernel" in name}
    for (module, name), kernel in kernels.items():
        title = name.removesuffix("_kernel") + (" with norm" if "with_norm" in module.__name__ else "")
        setattr(module, name, CountedLaunches(kernel, title, counts))
    torch.Tensor.is_cuda = True  # type: ignore[misc, assignment]
    try:
        yield counts
    finally:
        del torch.Tensor.is_cuda
        for (module, name), kernel in kernels.items():
            setattr(module, name, kernel)


MODULES = (clif_cuda, lif_cuda, clif_with_norm, lif_with_norm, norm_cuda)


def train(config: RunConfig, apart: bool) -> dict[str, torch.Tensor]:
    """The parts of the state after a few steps, each as a row: losses, logits of the first step, numbers of spikes,
    changes of weights and of averages, the optimiser's state and the scale."""
    form = {"channels": 2, "classes": 3, "size": SIZE, "timesteps": STEPS, "seed": config.seed}
    network = build_network(config.network, config.neuron, **form)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, SequenceBatchNorm):
            if apart:
                # What observes batch norm keeps it apart from the neuron.
                module.register_forward_hook(lambda *_: None)
            # All layers fire.
            torch.nn.init.uniform_(module.bias, 0.3, 0.9, generator=torch.Generator().manual_seed(module.num_features))
        elif isinstance(module, torch.nn.Linear):
            module.weight.data *= 4
    learner = Learner(config, network, torch.device("cpu"), Group())
    start = _floating(copy.deepcopy(network.state_dict()))
    generator = torch.Generator().manual_seed(1)
    losses, outputs = [], []
    with SpikeCounter(network) as counter:
        for _ in range(UPDATES[config.precision]):
            frames = torch.randint(0, 4, (STEPS, BATCH, 2, *SIZE), generator=generator).float()
            loss, logits = learner.loss(Batch(frames, torch.arange(BATCH) % 3), counter)
            learner.update(loss)
            losses.append(loss.detach())
            # Later ones follow weights that may differ by rounding, and a spike more or less then changes a logit much.
            outputs = outputs or [logits.flatten()]
    state = learner.state()
    assert learner._average is not None
    return {
        "losses": torch.stack(losses),
        "logits": torch.cat(outputs).float(),
        "spikes": torch.stack(list(counter._spikes.values())),
        "weights": _floating(state["network"]) - start,
        "average": _floating(learner._average.module.state_dict()) - start,
        "optimiser": torch.cat([_floating(entry) for entry in state["optimiser"]["state"].values()]),
        "scale": torch.tensor(state["scaler"].get("scale", 0.0)),
    }


def _floating(state: dict[str, Any]) -> torch.Tensor:
    """All numbers of a state dict that are not integers, as one row."""
    tensors = [one for one in state.values() if isinstance(one, torch.Tensor) and one.is_floating_point()]
    return torch.cat([one.flatten() for one in tensors])


def main() -> None:
    torch.set_num_threads(1)
    # Fewer and larger programs, which the interpreter runs one after another.
    shared.BLOCK = clif_cuda.BLOCK = lif_cuda.BLOCK = clif_with_norm.BLOCK = lif_with_norm.BLOCK = 4096
    clif_with_norm.ONE_WARP = lif_with_norm.ONE_WARP = norm_cuda.CHANNELS = 1024
    for name, changes in CASES.items():
        config = override(RunConfig(batch_size=BATCH), COMMON | changes)
        expected = train(config, name in APART)
        with through_triton() as launches:
            found = train(config, name in APART)
        apart = {part: relative(found[part], expected[part]) for part in expected}
        sizes = {part: float(values.double().norm()) for part, values in expected.items()}
        # Networks that do not react to their input would agree for another reason.
        sizes["logits"] = float(expected["logits"].std())
        print(json.dumps({"case": name, "apart": apart, "sizes": sizes, "launches": launches}), flush=True)


if __name__ == "__main__":
    main()
