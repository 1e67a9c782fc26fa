"""A trained network for inference: it bins events as in training, and clears its state before each input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.config.given_classes import name_class
from pipeline.config.run_config import RunConfig, override
from pipeline.data.input_description import TrainingInput
from pipeline.data.input_encoding import encode, input_size, to_tensor
from pipeline.data.padding import step_mask
from pipeline.data.run_data import open_data
from pipeline.data.time_order import reorder_steps
from pipeline.evaluation.evaluate_run import run_cache
from pipeline.evaluation.finished_run import load_weights_into
from pipeline.evaluation.losses import answer_mask
from pipeline.kernels.tensors import repeated
from pipeline.runs.run_folder import Run, open_run
from pipeline.runtime.device import choose_device
from preprocess.binning.count_events import bin_events
from preprocess.errors import RecordingError, RunError
from preprocess.events import Events


@dataclass(frozen=True)
class Prediction:
    """The prediction of a network for one sample.

    Attributes:
        label: Number of the predicted class.
        name: Name of the predicted class.
        confidence: Softmax of the mean logits for the predicted class; not calibrated.
        logits: Mean of the logits over the time steps that count, float32, shape (classes,).
    """

    label: int
    name: str
    confidence: float
    logits: NDArray[np.float32]


class TrainedNetwork:
    """A network with the selected weights of a run, in evaluation mode; equal inputs have equal outputs.

    Attributes:
        network: Maps encoded frames (T, B, C, H, W) to logits (T, B, classes); clears its state before each forward
            pass.
        config: Configuration of the run.
        classes: Names of the classes, by class number.
        sensor: Rows and columns of the sensor that it was trained on.
        window_us: Length in µs of the windows that it was trained on; None if they were no windows, or are not known.
        epoch: The epoch whose weights are selected.
        device: Device of the network.
    """

    def __init__(
        self, config: RunConfig, network: nn.Module, trained_on: TrainingInput, epoch: int, device: torch.device
    ) -> None:
        self.network, self.config, self.classes = network, config, trained_on.classes
        self.sensor = trained_on.sensor_height, trained_on.sensor_width
        self.window_us = trained_on.window_us
        self.epoch, self.device = epoch, device
        self._timesteps = None if config.binning.varies else trained_on.timesteps
        self._normalisation = trained_on.normalisation
        self._reorder = reorder_steps(config.input.time_order, config.seed, None)

    def transform(self, events: Events) -> torch.Tensor:
        """Bin and encode one sample as in training; returns the network's input, float32, shape (T, C, H, W).

        Raises:
            RecordingError: If there are no events, or the sensor has another size.
        """
        frames, _ = self._encoded([self._counts(events)])
        return frames[:, 0]

    def predict(self, samples: Events | Iterable[Events] | NDArray[Any] | torch.Tensor) -> list[Prediction]:
        """Classify samples.

        Args:
            samples: `Events` of one or several samples, or frames of event counts that were binned as in training (see
                `bin_events` and `open_frames`), of any type, shape (T, 2, H, W) or (B, T, 2, H, W). For a network that
                was trained on images: images, uint8, shape (3, H, W) or (B, 3, H, W), as `open_images` reads them.

        Returns:
            A prediction for each sample, in order.

        Raises:
            RecordingError: If a sample has no events, or another sensor or frame size, or values are not counts.
        """
        found: list[Prediction] = []
        for batch in _batches(self._all_counts(samples), self.config.batch_size):
            frames, lengths = self._encoded(batch)
            found += self.classify(frames, lengths)
        return found

    @torch.no_grad()
    def classify(self, frames: torch.Tensor, lengths: torch.Tensor | None = None) -> list[Prediction]:
        """As `predict`, for a batch of encoded frames.

        Args:
            frames: Encoded, float32, shape (T, B, C, H, W).
            lengths: Number of time steps before padding, int64, shape (B,); None if there is no padding.
        """
        logits = self.network(frames.to(self.device)).float()
        mask = None if lengths is None else step_mask(lengths.to(self.device), len(frames))
        counted = answer_mask(mask, logits, self.config.loss.last_steps)
        if counted is None:
            mean = logits.mean(0)
        else:
            mean = torch.where(counted[..., None], logits, 0.0).sum(0) / counted.sum(0)[:, None]
        shares = torch.softmax(mean, 1).cpu().numpy()
        return [
            Prediction(int(k), self.classes[int(k)], float(share[k]), row)
            for row, share, k in zip(mean.cpu().numpy(), shares, mean.argmax(1).tolist(), strict=True)
        ]

    def _all_counts(self, samples: Events | Iterable[Events] | NDArray[Any] | torch.Tensor) -> Iterator[NDArray[Any]]:
        if self.config.input.static:
            yield from self._images(samples)
        elif isinstance(samples, Events):
            yield self._counts(samples)
        elif isinstance(samples, np.ndarray | torch.Tensor):
            array = samples.cpu().numpy() if isinstance(samples, torch.Tensor) else samples
            yield from self._frames(array)
        elif isinstance(samples, Iterable) and not isinstance(samples, str):
            yield from map(self._counts, samples)
        else:
            yield self._counts(samples)

    def _images(self, samples: object) -> NDArray[Any]:
        """Check images, and give each one time step: shape (B, 1, 3, H, W)."""
        array = samples.cpu().numpy() if isinstance(samples, torch.Tensor) else samples
        size = (self.config.input.channels, *self.sensor)
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim not in (3, 4):
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(samples).__name__
        elif array.shape[-3:] == size:
            return array[None, None] if array.ndim == 3 else array[:, None]
        else:
            found = f"shape {array.shape}"
        raise RecordingError(
            f"images: expected uint8 of shape (3, H, W) or (B, 3, H, W) with (3, H, W) = {size}, as in training, found "
            f"{found}. Convert and scale the images."
        )

    def _counts(self, events: Events) -> NDArray[Any]:
        """Frames of one sample, shape (F, 2, H, W)."""
        if self.config.input.static:
            raise RecordingError(
                "events: expected images, on which the network was trained, found events. Give images."
            )
        if not isinstance(events, Events):
            raise RecordingError(
                f"samples: expected Events, or frames in one array, found {type(events).__name__}. Read a file with "
                "preprocess.read_events or a sample of a store with read(number); stack frames to (B, T, 2, H, W)."
            )
        if (events.height, events.width) != self.sensor:
            rows, columns = self.sensor
            raise RecordingError(
                f"events: expected a sensor of {rows}x{columns} pixels (rows x columns), as in training, found "
                f"{events.height}x{events.width}. Crop or scale the events to it, or train on this sensor."
            )
        return bin_events(events, self.config.binning)

    def _frames(self, array: NDArray[Any]) -> NDArray[Any]:
        """Check the shape and values of frames, and add a batch dimension if there is none."""
        steps = "T" if self._timesteps is None else self._timesteps
        size = (2, *self.config.binning.size(*self.sensor))
        fits = array.ndim in (4, 5) and array.shape[-3:] == size and array.shape[-4] > 0
        fits = fits and self._timesteps in (None, array.shape[-4])
        if not fits:
            raise RecordingError(
                f"frames: expected shape ({steps}, 2, H, W) or (B, {steps}, 2, H, W) with (2, H, W) = {size}, as in "
                f"training, found {array.shape}. Bin the events as the run's configuration says; batches of "
                "time_first_collate have T first: swap with frames.transpose(0, 1)."
            )
        finite = array.dtype.kind in "uib" or bool(np.isfinite(array).all())
        if self.config.binning.imported:
            # They may have other values than numbers of events.
            if not finite:
                raise RecordingError("frames: expected finite values, found NaN or infinite ones. Correct the frames.")
        elif not finite or (array != np.floor(array)).any() or (array < 0).any():
            raise RecordingError(
                "frames: expected numbers of events, which are whole and at least 0, found other values. Pass the "
                "frames as they were binned, without scaling; the run's encoding is applied here."
            )
        return array[None] if array.ndim == 4 else array

    def _encoded(self, counts: Sequence[NDArray[Any]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pad samples to the longest and encode them, shape (T, B, C, H, W); returns also their lengths if T varies."""
        longest = max(map(len, counts))
        padded = np.zeros((longest, len(counts), *counts[0].shape[1:]), np.result_type(*counts))
        for b, sample in enumerate(counts):
            padded[: len(sample), b] = sample
        lengths = torch.tensor([len(sample) for sample in counts]) if self.config.binning.varies else None
        ordered = self._reorder(to_tensor(padded).to(self.device), np.arange(len(counts)), lengths)
        frames = encode(ordered, self.config.input, self._normalisation)
        if self.config.input.static:
            frames = repeated(frames[0], self._timesteps or 1)
        return frames, lengths


def load_run(
    folder: Path | str,
    *,
    network: nn.Module | None = None,
    cache: Path | str | None = None,
    device: str | None = None,
    accept_changed_code: bool = False,
) -> TrainedNetwork:
    """Load the selected weights of a run for inference, from its folder alone.

    Args:
        folder: A run folder, as created by `train`.
        network: An object of the network's class to load the weights into, for classes that cannot be constructed from
            the arguments that a configuration gives.
        cache: The folder of all caches; only needed for runs of earlier versions, which did not record the sensor size.
        device: Device to compute on; the run's own device if None.
        accept_changed_code: Whether a run is loaded although its custom neuron or network file changed.

    Raises:
        RunError: If there are no selected weights, they are damaged or do not fit, or the code changed.
        ConfigError: If the network's class cannot be loaded or constructed.
        CacheError: If the run did not record the sensor size and the cache does not have its data.
    """
    if network is not None:
        name_class(type(network))
    run = open_run(Path(folder), accept_changed_code=accept_changed_code)
    trained_on = _trained_on(run, None if cache is None else Path(cache))
    where = choose_device(run.config.device if device is None else device)
    config = override(run.config, {"device": str(where)})
    height, width = config.binning.size(trained_on.sensor_height, trained_on.sensor_width)
    loaded, epoch = load_weights_into(
        run,
        where,
        classes=len(trained_on.classes),
        size=input_size(config.input, height, width),
        timesteps=trained_on.timesteps,
        given=network,
    )
    return TrainedNetwork(config, loaded, trained_on, epoch, where)


def _trained_on(run: Run, cache: Path | None) -> TrainingInput:
    recorded = run.environment.get("input")
    if recorded is None:
        # Earlier versions only recorded it in the cache.
        return TrainingInput.of(open_data(run.config, run_cache(run, cache), needs_test=False).frames)
    try:
        return TrainingInput.from_dict(recorded)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.folder}/environment.json: expected sensor, classes and timesteps under input, found damaged values "
            f"({error!r}). Restore the file, or train again."
        ) from None


def _batches(samples: Iterable[NDArray[Any]], size: int) -> Iterator[list[NDArray[Any]]]:
    batch: list[NDArray[Any]] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
