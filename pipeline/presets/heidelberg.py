"""Fully connected networks for the spike trains of SHD and SSC.

Sources: batch size, learning rate, dropout and time steps of 14 ms are those of the code of Bittar and Garner
(Frontiers in Neuroscience 2022, github.com/idiap/sparch); the data sets and the sizes of the networks are those of
Cramer et al. (IEEE TNNLS 2022). In that code, time constants are learnt between 5 and 25 steps, the input decays with
the potential, which is random at first, the last layer is a leaky integrator, and the learning rate falls when accuracy
does not rise. Here tau is 10, the last layer is linear, the learning rate follows a cosine, and the input does not
decay: neurons at rest that average an input of unit variance do not reach the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.run_config import (
    DatasetConfig,
    InputConfig,
    LossConfig,
    NetworkConfig,
    NeuronConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
)
from pipeline.presets.preset import Preset
from preprocess.binning.binning_config import Binning

_SHD = RunConfig(
    dataset=DatasetConfig(name="shd"),
    # All spikes are ON events.
    input=InputConfig(polarity="on"),
    binning=Binning(split_by="duration", duration_us=14_000),
    network=NetworkConfig(name="fc-snn", dropout=0.1, batch_norm="joint"),
    neuron=NeuronConfig(tau=10.0),
    loss=LossConfig(mse_weight=0.0),
    optimiser=OptimiserConfig(name="adamw", learning_rate=0.01, weight_decay=0.0),
    schedule=ScheduleConfig(epochs=30),
    batch_size=128,
)


def spike_train_presets() -> Iterator[Preset]:
    """Iterate over the presets for SHD; for SSC, set `dataset.name` to ssc."""
    yield Preset("shd-fc", _SHD, "SHD, two hidden layers; not run on the full data set here")
    yield Preset(
        "shd-rsnn",
        replace(_SHD, network=replace(_SHD.network, name="rsnn")),
        "SHD, one recurrent layer; not run on the full data set here",
    )
