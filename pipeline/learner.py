"""What learns: a network with its optimiser, gradient scaler and moving average, one step a batch."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from pipeline.averaging import moving_average
from pipeline.config import RunConfig
from pipeline.data import Batch
from pipeline.device import autocast, resolve_precision
from pipeline.distributed import Group
from pipeline.losses import spiking_loss
from pipeline.networks import SpikeCounter, reset_network
from pipeline.optimisation import make_optimiser


class Learner:
    """A network while it learns.

    Attributes:
        network: Its weights follow the gradients.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(self, config: RunConfig, network: nn.Module, device: torch.device, group: Group) -> None:
        self.network = network
        self._config, self._device = config, device
        self.precision = resolve_precision(config.precision, device)
        self._optimiser = make_optimiser(network, config.optimiser)
        # Half precision's small gradients vanish unless the loss is scaled up.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        decay = config.optimiser.ema_decay
        self._average = None if decay is None else moving_average(network, decay)
        if config.compile:
            network.compile()
        self._forward = group.wrap(network)

    @property
    def evaluated(self) -> nn.Module:
        """What is evaluated and kept: the moving average where there is one, else the network."""
        return self.network if self._average is None else self._average.module

    def set_learning_rate(self, rate: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def precisely(self) -> contextlib.AbstractContextManager[object]:
        """The forward pass's precision, while it is held."""
        return autocast(self._device, self.precision)

    def loss(self, batch: Batch, counter: SpikeCounter) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward: the loss, with gradient, and the logits (T, B, classes), of which `grad_steps` may have none."""
        frames, mask = batch.frames, batch.mask
        steps = self._config.grad_steps or len(frames)
        begin, rest = (None, None) if mask is None else (mask[:steps], mask[steps:])
        self._optimiser.zero_grad(set_to_none=True)
        with self.precisely():
            counter.mask = begin
            logits = self._forward(frames[:steps])
            loss = spiking_loss(logits, batch.labels, self._config.loss, begin)
            if steps < len(frames):
                # The rest goes on from the carried state; its outputs predict, but no gradient comes from them.
                counter.mask = rest
                with torch.no_grad():
                    logits = torch.cat([logits, self.network(frames[steps:])])
        return loss, logits.detach()

    def follow(self, loss: torch.Tensor) -> None:
        """Backward, and one step of the optimiser; the network forgets the batch."""
        self._scaler.scale(loss).backward()
        clip = self._config.optimiser.clip_norm
        if clip is not None:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        reset_network(self.network)
        if self._average is not None:
            self._average.update_parameters(self.network)

    def state(self) -> dict[str, dict[str, Any]]:
        """State dicts by part; empty for a part that is not there."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": {} if self._average is None else self._average.state_dict(),
        }

    def restore(self, state: dict[str, dict[str, Any]]) -> None:
        """The inverse of `state`; RuntimeError, ValueError or KeyError where it is another network's."""
        self.network.load_state_dict(state["network"])
        # A run that goes on from another takes its momentum, not its settings.
        own = [{name: value for name, value in g.items() if name != "params"} for g in self._optimiser.param_groups]
        self._optimiser.load_state_dict(state["optimiser"])
        for group, settings in zip(self._optimiser.param_groups, own, strict=True):
            group.update(settings)
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
