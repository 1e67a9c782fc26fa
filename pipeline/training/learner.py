"""A network with its optimiser, gradient scaler and moving average: one optimiser step per batch."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.data.loader import Batch
from pipeline.evaluation.losses import spiking_loss
from pipeline.networks import SpikeCounter, reset_network
from pipeline.runtime.device import autocast, resolve_precision
from pipeline.runtime.distributed import Group
from pipeline.training.optimiser import make_optimiser
from pipeline.training.weight_averaging import moving_average


class Learner:
    """A network in training, with everything that an optimiser step needs.

    Attributes:
        network: The network whose weights are trained.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        micro_batch: Maximum number of samples per forward pass; gradients are accumulated over the micro-batches of a
            batch.
    """

    def __init__(
        self,
        config: RunConfig,
        network: nn.Module,
        device: torch.device,
        group: Group,
        micro_batch: int | None = None,
    ) -> None:
        self.micro_batch = micro_batch or config.micro_batch or config.batch_size
        self.network = network
        self.config, self._device, self._group = config, device, group
        self.precision = resolve_precision(config.precision, device)
        self._optimiser = make_optimiser(network, config.optimiser)
        # In half precision, small gradients underflow unless the loss is scaled up.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        decay = config.optimiser.ema_decay
        self._average = None if decay is None else moving_average(network, decay)
        if config.compile:
            network.compile()
        self._forward = group.wrap(network)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and saved: the moving average if there is one, else the network itself."""
        return self.network if self._average is None else self._average.module

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of all parameter groups, from the next optimiser step on."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """A context in which a forward pass runs in the configured precision."""
        return autocast(self._device, self.precision)

    def loss(self, batch: Batch, counter: SpikeCounter) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the forward pass; returns the loss, with gradient, and the detached logits (T, B, classes).

        With micro-batches, the loss is that of the complete batch, but its graph is that of the last micro-batch only,
        because the gradients of the others have already been accumulated. Batch-norm statistics are computed per
        micro-batch.
        """
        self._optimiser.zero_grad(set_to_none=True)
        parts = _micro_batches(batch, self.micro_batch)
        if len(parts) == 1:
            return self._forward_micro_batch(batch, counter)
        total, found = torch.zeros((), device=self._device), []
        for k, part in enumerate(parts):
            last = k + 1 == len(parts)
            with contextlib.nullcontext() if last else self._group.without_sync(self._forward):
                loss, logits = self._forward_micro_batch(part, counter)
                loss = loss * (len(part.labels) / len(batch.labels))
                if not last:
                    self._scaler.scale(loss).backward()
            found.append(logits)
            if last:
                return total + loss, torch.cat(found, 1)
            total += loss.detach()
            reset_network(self.network)
        raise AssertionError("a batch has a last micro-batch")

    def _forward_micro_batch(self, batch: Batch, counter: SpikeCounter) -> tuple[torch.Tensor, torch.Tensor]:
        frames, mask = batch.frames, batch.mask
        steps = self.config.grad_steps or len(frames)
        first, rest = (None, None) if mask is None else (mask[:steps], mask[steps:])
        with self.autocast():
            counter.mask = first
            logits = self._forward(frames[:steps])
            timesteps = len(frames) if batch.lengths is None else batch.lengths
            loss = spiking_loss(logits, batch.targets, self.config.loss, first, timesteps=timesteps)
            if steps < len(frames):
                # The other steps continue from the current state. They count for the prediction, but have no gradient.
                counter.mask = rest
                with torch.no_grad():
                    logits = torch.cat([logits, self.network(frames[steps:])])
        return loss, logits.detach()

    def update(self, loss: torch.Tensor) -> None:
        """Run the backward pass and one optimiser step, and clear the state of the network."""
        self._scaler.scale(loss).backward()
        clip = self.config.optimiser.clip_norm
        if clip is not None:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        reset_network(self.network)
        if self._average is not None:
            self._average.update_parameters(self.network)

    def state(self) -> dict[str, dict[str, Any]]:
        """State dicts by part; empty for a part that is not used."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": {} if self._average is None else self._average.state_dict(),
        }

    def restore(self, state: dict[str, dict[str, Any]]) -> None:
        """The inverse of `state`; raises RuntimeError, ValueError or KeyError if it is of another network."""
        self.network.load_state_dict(state["network"])
        # A run that starts from another one takes over the optimiser's state, but not its settings.
        own = [{name: value for name, value in g.items() if name != "params"} for g in self._optimiser.param_groups]
        _check_stored(state["optimiser"])
        self._optimiser.load_state_dict(state["optimiser"])
        _check_fit(self._optimiser)
        for group, settings in zip(self._optimiser.param_groups, own, strict=True):
            group.update(settings)
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])


# PyTorch notices a state that does not fit in the next step at the earliest.


def _check_stored(stored: dict[str, Any]) -> None:
    """Raise a ValueError for values in the state of an optimiser that no optimiser has."""
    for state in stored["state"].values():
        for name, value in state.items():
            # Other numbers than tensors are counts of steps.
            if isinstance(value, torch.Tensor):
                valid = value.layout == torch.strided and not value.is_complex() and not value.is_meta
            else:
                valid = value is None or (name == "step" and type(value) in (int, float))
            if not valid:
                raise ValueError(f"the optimiser has an impossible {name}")


def _check_fit(optimiser: torch.optim.Optimizer) -> None:
    """Raise a ValueError for tensors of an optimiser that do not have the shape of their parameter."""
    for parameter in (parameter for group in optimiser.param_groups for parameter in group["params"]):
        for name, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape:
                shapes = f"shape {tuple(value.shape)} for a parameter of shape {tuple(parameter.shape)}"
                raise ValueError(f"the optimiser's {name} has {shapes}")


def _micro_batches(batch: Batch, maximum: int) -> list[Batch]:
    """Split a batch into micro-batches of at most `maximum` samples, with sizes that differ by at most one."""
    samples = len(batch.labels)
    if samples <= maximum:
        return [batch]
    count = -(-samples // maximum)
    ends = [round(samples * k / count) for k in range(count + 1)]

    def part(tensor: torch.Tensor | None, a: int, b: int) -> torch.Tensor | None:
        return None if tensor is None else tensor[a:b]

    return [
        Batch(batch.frames[:, a:b], batch.labels[a:b], part(batch.lengths, a, b), part(batch.shares, a, b))
        for a, b in pairwise(ends)
    ]
