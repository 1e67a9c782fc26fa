"""Networks, neurons, training and evaluation of one run; never loads Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from pipeline.analysis.analysis_options import BatchNormOptions as BatchNormOptions
    from pipeline.analysis.analysis_options import DynamicsOptions as DynamicsOptions
    from pipeline.analysis.analysis_options import EnergyOptions as EnergyOptions
    from pipeline.analysis.analysis_options import GradientOptions as GradientOptions
    from pipeline.analysis.analysis_options import InferenceOptions as InferenceOptions
    from pipeline.analysis.analysis_options import RateOptions as RateOptions
    from pipeline.analysis.analysis_options import RobustnessOptions as RobustnessOptions
    from pipeline.analysis.batch_norm_statistics import analyse_batch_norm as analyse_batch_norm
    from pipeline.analysis.dynamics import analyse_dynamics as analyse_dynamics
    from pipeline.analysis.energy_costs import analyse_energy as analyse_energy
    from pipeline.analysis.gradients import analyse_gradients as analyse_gradients
    from pipeline.analysis.lif_inference import analyse_inference as analyse_inference
    from pipeline.analysis.rates import analyse_rates as analyse_rates
    from pipeline.analysis.robustness import analyse_robustness as analyse_robustness
    from pipeline.config.neurons import NeuronTraits as NeuronTraits
    from pipeline.config.registrations import register_network as register_network
    from pipeline.config.registrations import register_neuron as register_neuron
    from pipeline.config.registrations import register_surrogate as register_surrogate
    from pipeline.config.run_config import RunConfig as RunConfig
    from pipeline.config.run_config import override as override
    from pipeline.config.sections.loss_config import LossConfig as LossConfig
    from pipeline.data.dataset import FrameDataset as FrameDataset
    from pipeline.data.time_first_collate import time_first_collate as time_first_collate
    from pipeline.evaluation.evaluate_call import evaluate as evaluate
    from pipeline.evaluation.losses import spiking_loss as spiking_loss
    from pipeline.evaluation.run_result import RunResult as RunResult
    from pipeline.evaluation.trained_network import Prediction as Prediction
    from pipeline.evaluation.trained_network import TrainedNetwork as TrainedNetwork
    from pipeline.evaluation.trained_network import load_run as load_run
    from pipeline.neurons.clif.node import CLIFNode as CLIFNode
    from pipeline.neurons.lif.node import LIFNode as LIFNode
    from pipeline.presets.registry import PRESETS as PRESETS
    from pipeline.presets.registry import find_preset as find_preset
    from pipeline.training.train_call import train as train

_HOMES = {
    "RunConfig": "pipeline.config.run_config",
    "override": "pipeline.config.run_config",
    "PRESETS": "pipeline.presets.registry",
    "find_preset": "pipeline.presets.registry",
    "train": "pipeline.training.train_call",
    "RunResult": "pipeline.evaluation.run_result",
    "evaluate": "pipeline.evaluation.evaluate_call",
    "load_run": "pipeline.evaluation.trained_network",
    "TrainedNetwork": "pipeline.evaluation.trained_network",
    "Prediction": "pipeline.evaluation.trained_network",
    "FrameDataset": "pipeline.data.dataset",
    "time_first_collate": "pipeline.data.time_first_collate",
    "LIFNode": "pipeline.neurons.lif.node",
    "CLIFNode": "pipeline.neurons.clif.node",
    "spiking_loss": "pipeline.evaluation.losses",
    "LossConfig": "pipeline.config.sections.loss_config",
    "NeuronTraits": "pipeline.config.neurons",
    "register_neuron": "pipeline.config.registrations",
    "register_network": "pipeline.config.registrations",
    "register_surrogate": "pipeline.config.registrations",
    "analyse_gradients": "pipeline.analysis.gradients",
    "analyse_dynamics": "pipeline.analysis.dynamics",
    "analyse_rates": "pipeline.analysis.rates",
    "analyse_energy": "pipeline.analysis.energy_costs",
    "analyse_robustness": "pipeline.analysis.robustness",
    "analyse_inference": "pipeline.analysis.lif_inference",
    "analyse_batch_norm": "pipeline.analysis.batch_norm_statistics",
    "GradientOptions": "pipeline.analysis.analysis_options",
    "DynamicsOptions": "pipeline.analysis.analysis_options",
    "RateOptions": "pipeline.analysis.analysis_options",
    "EnergyOptions": "pipeline.analysis.analysis_options",
    "RobustnessOptions": "pipeline.analysis.analysis_options",
    "InferenceOptions": "pipeline.analysis.analysis_options",
    "BatchNormOptions": "pipeline.analysis.analysis_options",
}

__all__ = list(_HOMES)

__getattr__ = lazy_exports(__name__, _HOMES)


def __dir__() -> list[str]:
    """The exported names, for tab completion, which does not find names that are not loaded yet."""
    return sorted({*globals(), *_HOMES})
