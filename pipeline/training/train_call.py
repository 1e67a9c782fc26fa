"""The `train` function of the library: from a configuration, or a custom network, to a trained run folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pipeline.config.given_classes import name_class
from pipeline.config.run_config import RunConfig, override
from pipeline.evaluation.run_result import RunResult
from pipeline.presets.registry import find_preset
from pipeline.runs.run_folder import default_out
from pipeline.runtime.distributed import group_from_env
from pipeline.training.train_run import OnEpoch, train_run
from preprocess.default_cache_folder import default_cache
from preprocess.errors import ConfigError
from preprocess.files import read_json
from preprocess.terminal.progress import Progress


def train(
    config: RunConfig | str,
    network: nn.Module | None = None,
    *,
    out: Path | str | None = None,
    cache: Path | str | None = None,
    accept_changed_code: bool = False,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Train one network and evaluate it on the test split at the end; the same as ``spikeloom train``.

    A run that was interrupted resumes from its last checkpoint when the call is repeated with the same `out`, and a
    finished one returns its result at once, with a note; its selected weights are loaded into `network`.

    Args:
        config: A configuration, or the name of a preset. With a `network`, its sections `network` and `neuron` are not
            used, and `network.name` becomes the name of the network's class.
        network: A custom network that maps frames (T, B, C, H, W), float32, to logits (T, B, classes), with its initial
            weights. It is trained in place. If it keeps state between batches, it must have a method `reset()` that
            clears it, as SpikingJelly's neurons do. To resume, pass an object of the same class that is made with the
            same arguments. `environment.json` records the SHA-256 of the file that defines the class, as for classes
            named by ``file.py:Class``.
        out: The run folder; the first free ``./runs/train-<name>-<n>`` if None.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        accept_changed_code: Whether a run is resumed although its custom neuron or network file changed.
        on_epoch: Called after each epoch with its rows of ``metrics.jsonl`` and ``timings.jsonl``.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        ConfigError: If the configuration does not fit the data, or the network does not return the expected logits.
        RunError: If the folder contains another run, is in use or damaged, or the loss is no longer finite.
        CacheError: If the data set has no event store.
    """
    if not isinstance(config, str | RunConfig):
        raise ConfigError(
            f"config: expected a RunConfig or the name of a preset, found {type(config).__name__}. Change the fields "
            "of a configuration with pipeline.override."
        )
    label = config if isinstance(config, str) else config.dataset.name
    chosen = find_preset(config).config if isinstance(config, str) else config
    if network is not None:
        if not isinstance(network, nn.Module):
            raise ConfigError(f"network: expected an instance of torch.nn.Module, found {type(network).__name__}")
        chosen = override(chosen, {"network.name": name_class(type(network))})
        label = type(network).__name__
    folder = default_out(None if out is None else Path(out), "train", label)
    progress = progress or Progress()
    finished = read_json(folder / "result.json")
    result = train_run(
        chosen,
        folder,
        default_cache(None if cache is None else Path(cache)),
        accept_changed_code=accept_changed_code,
        on_epoch=on_epoch,
        progress=progress,
        network=network,
    )
    if finished == result and group_from_env().first:
        progress.note(f"{folder}: already finished; its result is reused and nothing is trained")
    return RunResult.of(folder, result)
