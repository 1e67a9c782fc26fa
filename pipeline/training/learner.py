"""What learns: a network with its optimiser, gradient scaler and moving average, one step a batch."""

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
    """A network while it learns.

    Attributes:
        network: Its weights follow the gradients.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        micro_batch: The most samples that are held at once; gradients of the pieces of a batch add up to one step.
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
        self._config, self._device, self._group = config, device, group
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
        """Forward: the loss, with gradient, and the logits (T, B, classes), of which `grad_steps` may have none.

        Of a batch in pieces the loss is that of all of them, its graph the last one's: the gradients of the others are
        there already. Batch norm sees a piece at a time.
        """
        self._optimiser.zero_grad(set_to_none=True)
        pieces = _pieces(batch, self.micro_batch)
        if len(pieces) == 1:
            return self._forward_piece(batch, counter)
        total, found = torch.zeros((), device=self._device), []
        for k, piece in enumerate(pieces):
            last = k + 1 == len(pieces)
            with contextlib.nullcontext() if last else self._group.without_sync(self._forward):
                loss, logits = self._forward_piece(piece, counter)
                loss = loss * (len(piece.labels) / len(batch.labels))
                if not last:
                    self._scaler.scale(loss).backward()
            found.append(logits)
            if last:
                return total + loss, torch.cat(found, 1)
            total += loss.detach()
            reset_network(self.network)
        raise AssertionError("a batch has a last piece")

    def _forward_piece(self, batch: Batch, counter: SpikeCounter) -> tuple[torch.Tensor, torch.Tensor]:
        frames, mask = batch.frames, batch.mask
        steps = self._config.grad_steps or len(frames)
        begin, rest = (None, None) if mask is None else (mask[:steps], mask[steps:])
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


def _pieces(batch: Batch, most: int) -> list[Batch]:
    """A batch in pieces of at most so many samples, as even as can be; itself where it is small enough."""
    samples = len(batch.labels)
    if samples <= most:
        return [batch]
    ends = [round(samples * k / -(-samples // most)) for k in range(-(-samples // most) + 1)]
    return [
        Batch(batch.frames[:, a:b], batch.labels[a:b], None if batch.lengths is None else batch.lengths[a:b])
        for a, b in pairwise(ends)
    ]
