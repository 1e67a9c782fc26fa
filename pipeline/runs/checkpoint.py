"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.runs.selection import selection_order
from preprocess.errors import RunError
from preprocess.files import write_whole

# What a learner is made of; see `pipeline.training.learner.Learner.state`.
PARTS = ("network", "optimiser", "scaler", "average")


@dataclass(frozen=True)
class Best:
    """The epoch whose weights are selected so far.

    Attributes:
        epoch: Counted from 1; 0 is none yet.
        accuracy: Of the split that selects.
        loss: Of the same split; breaks ties.
    """

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")

    def is_beaten_by(self, accuracy: float, loss: float) -> bool:
        return selection_order(accuracy, loss) > selection_order(self.accuracy, self.loss)


@dataclass(frozen=True)
class Checkpoint:
    """The state at the end of an epoch.

    Attributes:
        fingerprint: The configuration's.
        data: The fingerprint of the frames that it was trained on.
        epoch: How many epochs are done.
        threads: How many CPU threads computed; another number gives other roundings.
        network: State dict.
        optimiser: State dict.
        scaler: State dict of the gradient scaler; empty without one.
        average: State dict of the weights' moving average; empty without one.
        best: The selection so far.
        random: Torch's random states, uint8 tensors: the CPU's, then one for each CUDA device.
    """

    fingerprint: str
    data: str
    epoch: int
    threads: int
    network: dict[str, Any]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    average: dict[str, Any]
    best: Best
    random: list[torch.Tensor]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; RunError where the disk is full."""
    state = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    state["best"] = asdict(checkpoint.best)
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU; never runs code that the file holds.

    Raises:
        RunError: If it is missing, damaged or something else.
    """
    state = _load(path)
    with _named_errors(path):
        found = Checkpoint(**(state | {"best": Best(**state["best"])}))
        whole = (
            type(found.epoch) is int
            and type(found.best.epoch) is int
            and 0 <= found.best.epoch <= found.epoch
            and isinstance(found.random, list)
            and len(found.random) > 0
            and all(isinstance(state, torch.Tensor) and state.dtype == torch.uint8 for state in found.random)
        )
        if not whole:
            raise ValueError("its epoch, selection or random states make no sense")
        return found


def save_weights(path: Path, network: torch.nn.Module, epoch: int) -> None:
    """Write a network's weights and the epoch they are of."""
    state = {"epoch": epoch, "network": network.state_dict()}
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_weights(path: Path, network: torch.nn.Module) -> int:
    """Put weights into a network of the same layers; the epoch they are of.

    Raises:
        RunError: If the file is missing or damaged, or the weights are another network's.
    """
    state = _load(path)
    with _named_errors(path):
        network.load_state_dict(state["network"])
        return int(state["epoch"])


def random_states() -> list[torch.Tensor]:
    """Torch's random states: the CPU's, then one for each CUDA device that is in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cuda]


def restore_random_states(states: list[torch.Tensor]) -> None:
    """The inverse of `random_states`."""
    torch.set_rng_state(states[0])
    if states[1:] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunError(f"{path}: expected a checkpoint, found no such file. Train first: spikeloom train --help")
    with _named_errors(path), warnings.catch_warnings():
        # Torch warns of files that others wrote before it refuses them.
        warnings.simplefilter("ignore")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
        return state


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        if isinstance(error, pickle.UnpicklingError):
            # Torch's own words advise to load it unsafely.
            reason = "it is cut off, or holds more than tensors and plain values; none of it was run"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(
            f"{path}: expected a checkpoint of this run, but it cannot be used ({reason}). Delete it and train again."
        ) from None
