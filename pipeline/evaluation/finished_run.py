"""A finished run's selected weights and its test split, from its folder alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from pipeline.config.run_config import RunConfig
from pipeline.data.encoding import input_size
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.networks import reset_network
from pipeline.networks.run_network import make_run_network
from pipeline.runs.changed_code import check_code
from pipeline.runs.checkpoint import load_weights
from pipeline.runs.run_folder import Run
from preprocess.errors import RunError
from preprocess.store.frame_source import FrameSource
from preprocess.terminal.progress import Progress


def require_weights(there: Run) -> Path:
    """The path of a run's ``best.pt``; RunError where it has none yet."""
    path = there.folder / "best.pt"
    if not path.is_file():
        raise RunError(
            f"{there.folder}: expected selected weights (best.pt), found none after {len(there.metrics)} epochs. "
            f"Train on: spikeloom train --resume {there.folder}"
        )
    return path


def open_run_data(there: Run, config: RunConfig, cache: Path, progress: Progress | None = None) -> RunData:
    """The data of a run's configuration, or of one that bins the same samples otherwise.

    Raises:
        RunError: If the data set was preprocessed from other files since the run was trained.
        CacheError: If the data set has no event store.
    """
    data = open_data(config, cache, progress)
    trained_on = there.environment.get("data")
    if trained_on not in (None, data.frames.fingerprint):
        raise RunError(
            f"{there.folder}: expected frames {trained_on}, found {data.frames.fingerprint} in {data.frames.path}: the "
            "data set was preprocessed from other files since. Give the run's own --cache."
        )
    return data


def load_selected(there: Run, data: RunData, device: torch.device) -> tuple[nn.Module, int]:
    """The network with the weights of ``best.pt`` in evaluation mode, and the epoch they are of.

    In evaluation mode it forgets what it saw before at the begin of each forward pass, so that equal inputs have equal
    outputs. In training mode it keeps its state, as `reset_network` and truncated back-propagation need it.

    Raises:
        RunError: If there are no such weights, they are damaged or do not fit, or the run's own neuron or network
            file changed since the training and the run was not opened with `accept_changed_code`.
    """
    return load_for_frames(there, data.frames, device)


def load_for_frames(there: Run, frames: FrameSource, device: torch.device) -> tuple[nn.Module, int]:
    """The same for any frames of the run's data set, whatever they are split into."""
    size = input_size(there.config.input, frames.height, frames.width)
    return load_weights_into(there, device, classes=len(frames.classes), size=size, timesteps=frames.timesteps)


def load_weights_into(
    there: Run,
    device: torch.device,
    *,
    classes: int,
    size: tuple[int, int],
    timesteps: int,
    given: nn.Module | None = None,
) -> tuple[nn.Module, int]:
    """The same for input of a given form; see `pipeline.networks.run_network.make_run_network` for the arguments."""
    check_code(there)
    network = make_run_network(
        there.config, classes=classes, size=size, timesteps=timesteps, device=device, given=given
    )
    epoch = load_weights(require_weights(there), network)
    network.register_forward_pre_hook(_forget_before_inference)
    return network.eval(), epoch


def _forget_before_inference(network: nn.Module, _inputs: object) -> None:
    if not network.training:
        reset_network(network)


def evaluate_test(
    there: Run, network: nn.Module, data: RunData, device: torch.device, also: Iterable[str] = ()
) -> Evaluation:
    """What a network reaches on the run's test split; `also` as `pipeline.evaluation.evaluate.evaluate` has it."""
    config = there.config
    loader = FrameLoader(data.frames, data.splits.test, config.batch_size, config.input, device, seed=config.seed)
    return evaluate(network, loader, config.loss, also)
