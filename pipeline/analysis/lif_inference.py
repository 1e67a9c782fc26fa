"""A trained network run with the dynamics of LIF, with soft or hard reset (Huang et al., ICML 2024, Table 8).

LIF needs neither CLIF's second state nor its sigmoids, so that a network that was trained with CLIF can run on hardware
that only has LIF. A hard reset to a value below 0 stands in for CLIF's deeper reset:

    u[t] = v[t-1] - (v[t-1] - r) / tau + x[t];  s[t] = 1 where u[t] >= v_th;  v[t] = r where s[t] = 1, else u[t].

The reset value r is also the resting potential and the initial one, as in SpikingJelly's LIF neuron and in NIR.
Weights, tau and thresholds are those of the trained network.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import nn

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import InferenceOptions
from pipeline.analysis.stored_result import AnalysisResult
from pipeline.config.run_config import RunConfig, override
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.evaluation.nir_export import ReadNetwork, export_nir, refuse_inexpressible
from pipeline.evaluation.wilson_interval import accuracy_interval
from pipeline.neurons.clif.node import CLIFNode
from pipeline.neurons.lif.node import LIFNode
from preprocess.errors import ConfigError

# Neurons whose nodes `with_lif` replaces.
REPLACED = ("lif", "clif", "lif-reset1.8", "clif-detached", "clif-undecayed")


@dataclass(frozen=True)
class InferenceRow:
    """The accuracy with one kind of dynamics.

    Attributes:
        dynamics: ``trained``, ``soft`` or ``hard``.
        reset_value: r of the hard reset, in the unit of `neuron.v_threshold`; None for the others.
        correct: Number of samples that are classified correctly.
        accuracy: The same as a fraction.
        low: Lower end of its 95 % interval over samples (Wilson).
        high: Upper end.
        same: Number of samples with the prediction of the trained dynamics.
        firing_rate: Spikes / (neurons * T * samples).
    """

    dynamics: str
    reset_value: float | None
    correct: int
    accuracy: float
    low: float
    high: float
    same: int
    firing_rate: float


@dataclass(frozen=True)
class NirFile:
    """The network with LIF dynamics as a NIR graph.

    Attributes:
        file: The path.
        reset_value: r of its hard reset.
        nodes: Number of nodes.
        same: Number of samples for which the graph, read again, has the predictions of the network.
    """

    file: str
    reset_value: float
    nodes: int
    same: int


@dataclass(frozen=True)
class InferenceResult(AnalysisResult):
    """Accuracies of the same weights with the trained dynamics and with those of LIF.

    Attributes:
        rows: First the trained dynamics, then LIF with soft reset, then with hard reset by decreasing value.
        nir: The NIR graph; None if it was not requested.
    """

    ANALYSIS: ClassVar[str] = "inference"

    rows: tuple[InferenceRow, ...]
    nir: NirFile | None

    @property
    def best(self) -> InferenceRow:
        """The hard reset with the highest accuracy; of equal ones, the value nearest to 0."""
        return max((row for row in self.rows if row.dynamics == "hard"), key=lambda row: row.correct)


def analyse_inference(target: Path | str | Analysed, options: InferenceOptions | None = None) -> InferenceResult:
    """Evaluate a network with its own dynamics and with those of LIF, and optionally export it.

    Args:
        target: A run folder, the name of a preset (whose network is not trained), or an opened one.
        options: The samples, the reset values, and the file of the NIR graph: the hard reset with the best accuracy.

    Raises:
        ConfigError: If the neuron does not have LIF's membrane, a reset value is not below the threshold, or NIR cannot
            express the network.
        RunError: If the run has no selected weights, or its data changed since the training.
        CacheError: If the data set has no event store.
    """
    options = options or InferenceOptions()
    analysed = open_analysed(target)
    analysed.require_weights()
    config = analysed.config
    _refuse(analysed.name, config, options)
    data = analysed.open_data()
    indices = analysed.choose_samples(data, options)
    with analysed.device() as device:
        trained, epoch = analysed.load_network(data, device)

        def run(network: nn.Module) -> Evaluation:
            return evaluate(network, analysed.load_samples(data, indices, device), config.loss)

        reference = run(trained)
        rows = [
            _row("trained", None, reference, reference),
            _row("soft", None, run(with_lif(trained, None)), reference),
        ]
        hard = {value: run(with_lif(trained, value)) for value in sorted(set(options.resets), reverse=True)}
        rows += [_row("hard", value, found, reference) for value, found in hard.items()]
        nir = None
        if options.nir is not None:
            value = max(hard, key=lambda value: hard[value].correct)
            path = options.nir.expanduser().absolute()
            written = export_nir(with_lif(trained, value), data.size, path, channels=config.input.channels)
            read = run(ReadNetwork(path, device))
            same = int((read.predictions == hard[value].predictions).sum())
            nir = NirFile(str(path), value, written["nodes"], same)
    subject = analysed.subject(data=data, part=options.part, samples=len(indices), epoch=epoch)
    return InferenceResult(subject=subject, rows=tuple(rows), nir=nir)


def with_lif(network: nn.Module, reset_value: float | None) -> nn.Module:
    """A copy of a network whose neurons have the dynamics of LIF, with the same tau and thresholds.

    Args:
        network: A network of `LIFNode` and `CLIFNode`; other neurons are not replaced.
        reset_value: The potential after a spike, which is also the resting potential; None for the soft reset.
    """
    converted = copy.deepcopy(network)
    for name, module in list(converted.named_modules()):
        if isinstance(module, LIFNode | CLIFNode):
            lif = LIFNode(
                module.tau,
                decay_input=getattr(module, "decay_input", False),
                v_threshold=module.v_threshold,
                v_reset=reset_value,
                surrogate_function=module.surrogate_function,
                step_mode=module.step_mode,
                backend=module.backend,
            )
            for mark in ("is_neuron", "is_configured"):
                if hasattr(module, mark):
                    setattr(lif, mark, getattr(module, mark))
            parent, _, own = name.rpartition(".")
            setattr(converted.get_submodule(parent), own, lif)
    return converted.eval()


def _row(dynamics: str, value: float | None, found: Evaluation, reference: Evaluation) -> InferenceRow:
    low, high = accuracy_interval(found.correct, len(found.labels))
    same = int((found.predictions == reference.predictions).sum())
    return InferenceRow(dynamics, value, found.correct, found.accuracy, low, high, same, found.firing_rate)


def _refuse(name: str, config: RunConfig, options: InferenceOptions) -> None:
    if config.neuron.name not in REPLACED:
        raise ConfigError(
            f"{name}: expected a run with a neuron that has LIF's membrane ({', '.join(REPLACED)}), found "
            f"'{config.neuron.name}'. Train one of them."
        )
    wrong = [value for value in options.resets if not value < config.neuron.v_threshold]
    if wrong:
        raise ConfigError(
            f"--resets: expected values below the threshold {config.neuron.v_threshold:g}, found "
            f"{', '.join(f'{value:g}' for value in wrong)}"
        )
    if options.nir is not None:
        plain = {"neuron.name": "lif", "neuron.reset": "hard"}
        refuse_inexpressible(override(config, plain))
        parent = options.nir.expanduser().absolute().parent
        if not parent.is_dir():
            raise ConfigError(f"--nir: expected a file in an existing folder, found {options.nir}. Create the folder.")
