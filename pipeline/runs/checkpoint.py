"""Checkpoints of a run folder: ``checkpoint.pt``, from which a run resumes with identical results, and ``best.pt``.

``checkpoint.pt`` has the state after the last finished epoch and replaces that of the epoch before; ``best.pt`` has the
selected weights. Selection by the last epoch writes ``best.pt`` once, at the end of the run.
"""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from pipeline.runs.best_epoch import is_better
from preprocess.errors import RunError
from preprocess.files import write_whole

CHECKPOINT, BEST = "checkpoint.pt", "best.pt"

# The parts of a learner's state; see `pipeline.training.learner.Learner.state`.
PARTS = ("network", "optimiser", "scaler", "average")


@dataclass(frozen=True)
class Best:
    """The epoch whose weights are selected so far.

    Attributes:
        epoch: Counted from 1; 0 if there is none yet.
        accuracy: Accuracy on the split that selects, a fraction.
        loss: Loss on the same split; decides between equal accuracies.
    """

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")

    def is_beaten_by(self, accuracy: float, loss: float) -> bool:
        """Whether an epoch with this accuracy and loss is selected in place of this one."""
        return is_better(accuracy, loss, than=(self.accuracy, self.loss))


@dataclass(frozen=True)
class Checkpoint:
    """The state at the end of an epoch.

    Attributes:
        fingerprint: Fingerprint of the configuration.
        data: Fingerprint of the frames that it was trained on.
        epoch: Number of finished epochs.
        threads: Number of CPU threads, which affects rounding errors.
        network: State dict of the network.
        optimiser: State dict of the optimiser.
        scaler: State dict of the gradient scaler; empty without one.
        average: State dict of the weights' moving average; empty without one.
        best: The selection so far.
        random: PyTorch's random states, uint8 tensors: that of the CPU, then those of the CUDA devices.
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


def save_epoch(folder: Path, checkpoint: Checkpoint, selected: torch.nn.Module | None) -> None:
    """Write the files of a finished epoch; raises RunError if the disk is full.

    Args:
        folder: The run folder.
        checkpoint: The state after the epoch.
        selected: The network if its weights are the best so far, otherwise None, which keeps ``best.pt``.
    """
    if selected is not None:
        # Before the checkpoint that refers to it.
        save_weights(folder / BEST, selected, checkpoint.epoch)
    save_checkpoint(folder / CHECKPOINT, checkpoint)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, completely or not at all; raises RunError if the disk is full."""
    state = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    state["best"] = asdict(checkpoint.best)
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU; never runs code from the file.

    Raises:
        RunError: If it is missing, damaged or not a checkpoint.
    """
    state = _load(path)
    with _named_errors(path):
        found = Checkpoint(**(state | {"best": Best(**state["best"])}))
        numbers = (found.best.accuracy, found.best.loss)
        valid = (
            all(type(text) is str for text in (found.fingerprint, found.data))
            and all(type(count) is int for count in (found.epoch, found.threads, found.best.epoch))
            and all(type(number) in (int, float) for number in numbers)
            and 0 <= found.best.epoch <= found.epoch
            and -1 <= found.best.accuracy <= 1
            and isinstance(found.random, list)
            and len(found.random) > 0
            and all(isinstance(state, torch.Tensor) and state.dtype == torch.uint8 for state in found.random)
        )
        if not valid:
            raise ValueError("its epoch, selection or random states are inconsistent")
        return found


def save_weights(path: Path, network: torch.nn.Module, epoch: int) -> None:
    """Write the weights of a network and their epoch."""
    state = {"epoch": epoch, "network": network.state_dict()}
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_weights(path: Path, network: torch.nn.Module) -> int:
    """Load weights into a network of the same layers, and return their epoch.

    Raises:
        RunError: If the file is missing or damaged, or the weights are another network's.
    """
    state = _load(path)
    with _named_errors(path):
        check_shapes(path, network, state["network"])
        network.load_state_dict(state["network"])
        return int(state["epoch"])


_WHAT_NEXT = (
    "Use the configuration of the training and the same class and constructor arguments; in Python, an object can be "
    "passed as network=."
)


def check_shapes(path: Path, network: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise RunError if a network has other parameters and buffers, or other shapes of them, than these weights."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"its weights are a {type(weights).__name__}")
    own = {name: value for name, value in network.state_dict().items() if not is_lazy(value)}
    theirs = {name: value for name, value in weights.items() if name in own or not _has_lazy(network)}
    for name in dict.fromkeys([*theirs, *own]):
        expected, found = (_shape(name, state) for state in (theirs, own))
        if expected != found:
            # A network whose name meant another one before says so.
            what_next = getattr(network, "weights_hint", _WHAT_NEXT)
            raise RunError(
                f"{path}: expected a network with {expected}, as in training, found one with {found}. {what_next}"
            )


def _has_lazy(network: torch.nn.Module) -> bool:
    return any(is_lazy(value) for value in network.state_dict().values())


def _shape(name: str, state: Mapping[str, Any]) -> str:
    if name not in state:
        return f"no {name}"
    value = state[name]
    if not isinstance(value, torch.Tensor):
        return name
    # PyTorch would silently leave out the imaginary part of complex numbers, and copy nothing without values.
    odd = " of complex numbers" if value.is_complex() else " without values" if value.is_meta else ""
    return f"{name} of shape {tuple(value.shape)}{odd}"


def random_states() -> list[torch.Tensor]:
    """Return PyTorch's random states: that of the CPU, then those of the CUDA devices, if CUDA is in use."""
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
        # torch.load warns about foreign files before it refuses them.
        warnings.simplefilter("ignore")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # whatever a damaged file makes torch raise
            raise ValueError(str(error) or type(error).__name__) from None
        if not isinstance(state, dict):
            raise TypeError(f"it contains a {type(state).__name__}")
        return state


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        if isinstance(error, pickle.UnpicklingError):
            # PyTorch's own message recommends loading the file unsafely.
            reason = "it is truncated, or contains more than tensors and plain values; no code from it was run"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(
            f"{path}: expected a checkpoint of this run, found one that cannot be used ({reason}). Delete it and train "
            "again."
        ) from None
