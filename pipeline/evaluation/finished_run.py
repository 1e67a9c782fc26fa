"""The selected weights and the test split of a run, from its folder alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pipeline.config.registrations import require_registered
from pipeline.config.run_config import RunConfig
from pipeline.cost.operations import Operations
from pipeline.data.input_encoding import input_size
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.networks import reset_network
from pipeline.networks.run_network import make_run_network
from pipeline.runs.changed_code import check_code
from pipeline.runs.checkpoint import BEST, load_weights
from pipeline.runs.run_folder import Run
from preprocess.errors import RunError
from preprocess.store.frame_source import FrameSource
from preprocess.terminal.progress import Progress


def require_weights(run: Run) -> Path:
    """Return the path of a run's ``best.pt``; raises RunError if it has none yet."""
    path = run.folder / BEST
    if not path.is_file():
        if run.result is None:
            then = f"Resume it: spikeloom train --resume {run.folder}"
        else:
            again = f"spikeloom train --config {run.folder / 'config.json'}"
            then = f"The run is finished, so that it cannot be resumed. Train it again: {again}"
        raise RunError(
            f"{run.folder}: expected selected weights (best.pt), found none after {len(run.metrics)} epochs. {then}"
        )
    return path


def open_run_data(run: Run, config: RunConfig, cache: Path, progress: Progress | None = None) -> RunData:
    """Open the data of a run's configuration, or of one that bins the same samples in another way.

    Raises:
        RunError: If the data set was preprocessed from other files since the run was trained.
        CacheError: If the data set has no event store.
    """
    data = open_data(config, cache, progress, needs_batch=False)
    trained_on = run.environment.get("data")
    if trained_on not in (None, data.frames.fingerprint):
        raise RunError(
            f"{run.folder}: expected frames {trained_on}, found {data.frames.fingerprint} in {data.frames.path}: the "
            "data set was preprocessed from other files since. Give the --cache that the run was trained with."
        )
    return data


def load_selected(
    run: Run, data: RunData, device: torch.device, given: nn.Module | None = None
) -> tuple[nn.Module, int]:
    """Load the network with the weights of ``best.pt`` in evaluation mode, and their epoch.

    In evaluation mode, the network clears its state at the beginning of each forward pass, so that equal inputs have
    equal outputs. In training mode, it keeps its state, as truncated back-propagation requires.

    Raises:
        RunError: If there are no such weights, they are damaged or do not fit, or the custom neuron or network file
            changed since the training and the run was not opened with `accept_changed_code`.
    """
    return load_for_frames(run, data.frames, device, given)


def load_for_frames(
    run: Run, frames: FrameSource, device: torch.device, given: nn.Module | None = None
) -> tuple[nn.Module, int]:
    """As `load_selected`, for any frames of the run's data set."""
    size = input_size(run.config.input, frames.height, frames.width)
    return load_weights_into(
        run, device, classes=len(frames.classes), size=size, timesteps=frames.timesteps, given=given
    )


def load_weights_into(
    run: Run,
    device: torch.device,
    *,
    classes: int,
    size: tuple[int, int],
    timesteps: int,
    given: nn.Module | None = None,
) -> tuple[nn.Module, int]:
    """As `load_selected`, for input of a given shape; the arguments are those of `make_run_network`."""
    if given is None:
        require_registered(run.folder, [run.config])
    check_code(run)
    network = make_run_network(run.config, classes=classes, size=size, timesteps=timesteps, device=device, given=given)
    epoch = load_weights(require_weights(run), network)
    network.register_forward_pre_hook(_reset_before_inference)
    return network.eval(), epoch


def _reset_before_inference(network: nn.Module, _inputs: object) -> None:
    if not network.training:
        reset_network(network)


def evaluate_test(
    run: Run, network: nn.Module, data: RunData, device: torch.device, operations: Operations | None = None
) -> Evaluation:
    """Evaluate a network on the test split of a run; see `pipeline.evaluation.evaluate.evaluate` for `operations`."""
    config = run.config
    loader = FrameLoader(data.frames, data.splits.test, config.batch_size, config.input, device, seed=config.seed)
    return evaluate(network, loader, config.loss, operations)
