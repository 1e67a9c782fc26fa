"""The share of a trained network's neurons that fire at each time step of a sample."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.input_encoding import encode, normalisation_of, to_tensor
from pipeline.evaluation.finished_run import load_for_frames
from pipeline.kernels.tensors import repeated
from pipeline.networks import neuron_layers, reset_network
from pipeline.runs.run_folder import Run
from preprocess.errors import RunError
from preprocess.store.frame_source import FrameSource


class SpikesOverTime:
    """A run's network with its selected weights, on the CPU, in evaluation mode.

    Args:
        run: A run with selected weights.
        frames: The frames that the run reads.

    Attributes:
        layers: Names of the spiking layers, in the order of the network.

    Raises:
        RunError: If there are no weights, they are damaged or do not fit, or the frames were preprocessed from other
            files than those that the run was trained on.
    """

    def __init__(self, run: Run, frames: FrameSource) -> None:
        trained_on = run.environment.get("data")
        if trained_on not in (None, frames.fingerprint):
            raise RunError(
                f"{run.folder}: expected frames {trained_on}, found {frames.fingerprint} in {frames.path}: the data "
                "set was preprocessed from other files since"
            )
        self._frames = frames
        self._input, self._normalisation = run.config.input, normalisation_of(frames)
        self._network, _ = load_for_frames(run, frames, torch.device("cpu"))
        self._network.eval()
        self._modules = neuron_layers(self._network)
        self.layers = tuple(self._modules)

    def shares(self, sample: int) -> NDArray[np.float64]:
        """The share of each layer's neurons whose output is not zero, shape (layers, T), without padding.

        Args:
            sample: Number of the sample.
        """
        images = self._normalisation is not None
        # Images are encoded once, and repeated.
        counts = to_tensor(self._frames.read(sample)[: 1 if images else None])[:, None]
        frames = encode(counts, self._input, self._normalisation)
        if images:
            frames = repeated(frames[0], self._frames.timesteps)
        found: dict[str, NDArray[np.float64]] = {}

        def count(name: str, spikes: torch.Tensor) -> None:
            found[name] = (spikes.detach() != 0).flatten(1).double().mean(1).numpy()

        hooks = [
            module.register_forward_hook(lambda _m, _i, out, name=name: count(name, out))
            for name, module in self._modules.items()
        ]
        try:
            with torch.no_grad():
                self._network(frames)
        finally:
            reset_network(self._network)
            for hook in hooks:
                hook.remove()
        length = int(self._frames.lengths[sample])
        return np.array([found[name][:length] for name in self.layers])
