"""Energy with memory accesses: every printed digit of Table 7, and the corrected terms by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.config.neurons import BUILT_IN_NEURONS, traits_of
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.cost.layer_shapes import LayerShape, layer_shapes
from pipeline.cost.memory_energy import MemoryEnergy, access_energy, corrected_terms, printed_terms
from pipeline.cost.operations import Layer
from pipeline.cost.synaptic_operations import SynapticLayer, SynapticOperations
from pipeline.networks import build_network
from pipeline.neurons.make_neuron import make_neuron

# Rates in percent of each layer of neurons, from the script behind Table 7 in the CLIF authors' repository.
RATES = {
    ("CIFAR10", "lif"): "27.828 19.727 23.881 17.381 25.658 19.541 18.871 9.919 17.236 14.486 12.91 8.546 9.847 8.887 "
    "4.845 6.161 4.651",
    ("CIFAR10", "clif"): "24.552 17.135 17.304 13.42 18.855 15.632 15.024 8.242 13.895 12.87 10.686 7.517 8.341 7.368 "
    "2.895 4.127 3.685",
    ("CIFAR100", "lif"): "17.861 10.554 12.224 12.212 15.801 14.979 13.228 7.799 14.914 12.335 9.982 6.734 10.328 "
    "7.609 4.158 5.472 15.007",
    ("CIFAR100", "clif"): "20.606 12.596 12.614 9.659 15.608 12.062 11.114 7.435 13.702 10.801 8.062 6.885 8.734 6.068 "
    "2.841 3.747 11.773",
    ("Tiny-ImageNet", "lif"): "29.265 22.261 22.562 19.926 18.289 13.737 14.664 10.071 17.244 9.031",
    ("Tiny-ImageNet", "clif"): "25.339 16.132 15.492 12.749 12.49 9.638 10.632 7.403 12.791 8.153",
    ("CIFAR10-DVS", "lif"): "8.66 9.285 10.229 7.347 5.989 3.562 2.028 1.132",
    ("CIFAR10-DVS", "clif"): "7.115 7.113 8.237 5.674 4.843 2.277 2.075 1.543",
    ("Gesture", "lif"): "4.353 2.384 1.564 1.903 1.528 1.174 1.17 0.211",
    ("Gesture", "clif"): "4.55 2.29 1.242 1.726 1.058 0.909 0.937 0.408",
}

# The paper's Table 7: potentials, parameters, in and out, arithmetic, addressing (in microjoules) and total, in
# millijoules.
TABLE7 = {
    ("CIFAR10", "relu"): (0, 54.9688, 54.9357, 1.7573, 0.1145, 111.6619),
    ("CIFAR10", "lif"): (22.9987, 11.4994, 0.0013, 0.0190, 12.1394, 34.5304),
    ("CIFAR10", "clif"): (55.5172, 9.2529, 0.0007, 0.0389, 19.5184, 64.8293),
    ("CIFAR100", "relu"): (0, 54.9735, 54.9357, 1.7574, 0.1145, 111.6667),
    ("CIFAR100", "lif"): (16.8666, 8.4337, 0.0004, 0.0171, 8.8427, 25.3267),
    ("CIFAR100", "clif"): (46.8265, 7.8048, 0.0004, 0.0380, 16.4053, 54.6861),
    ("Tiny-ImageNet", "relu"): (0, 91.9065, 91.3834, 2.9379, 0.1686, 186.2279),
    ("Tiny-ImageNet", "lif"): (37.7700, 18.9076, 0.0050, 1.1754, 19.8379, 57.8778),
    ("Tiny-ImageNet", "clif"): (84.8900, 14.1756, 0.0028, 1.0986, 29.7983, 100.1968),
    ("CIFAR10-DVS", "lif"): (5.7398, 2.8701, 0.0003, 0.0212, 2.9340, 8.6343),
    ("CIFAR10-DVS", "clif"): (14.0891, 2.3484, 0.0002, 0.0451, 4.7976, 16.4876),
    ("Gesture", "lif"): (13.9212, 6.9606, 0.0003, 0.1682, 7.0728, 21.0574),
    ("Gesture", "clif"): (38.3082, 6.3848, 0.0003, 0.4794, 12.9767, 45.1856),
}

# Network, channels, classes, side and T of each task.
TASKS = {
    "CIFAR10": ("spiking-resnet18", 3, 10, 32, 6),
    "CIFAR100": ("spiking-resnet18", 3, 100, 32, 6),
    "Tiny-ImageNet": ("spiking-vgg13", 3, 200, 64, 6),
    "CIFAR10-DVS": ("spiking-vgg11", 2, 10, 48, 10),
    "Gesture": ("spiking-vgg11", 2, 11, 128, 20),
}


@pytest.fixture(scope="module")
def shapes() -> dict[str, list[LayerShape]]:
    """The layers of our networks as the paper counts them: without the convolutions of shortcuts."""
    found = {}
    for task, (name, channels, classes, side, _) in TASKS.items():
        with torch.device("meta"):
            form = {"channels": channels, "classes": classes, "size": (side, side), "timesteps": 1, "seed": 1}
            network = build_network(NetworkConfig(name=name), NeuronConfig(name="relu"), **form)
            layers = layer_shapes(network, torch.ones(1, 1, channels, side, side))
        found[task] = [shape for shape in layers.values() if shape.kernel != (1, 1)]
    return found


@pytest.mark.parametrize(("task", "neuron"), TABLE7)
def test_every_printed_number_of_table_7_follows_from_our_networks(
    shapes: dict[str, list[LayerShape]], task: str, neuron: str
):
    rates = [float(rate) / 100 for rate in RATES.get((task, neuron), "").split()]
    terms = printed_terms(shapes[task], neuron, TASKS[task][-1], rates)
    potentials, parameters, in_out, arithmetic, addressing, total = TABLE7[task, neuron]
    found = terms.potentials, terms.parameters, terms.in_out, terms.arithmetic
    assert [pj * 1e-9 for pj in found] == pytest.approx([potentials, parameters, in_out, arithmetic], abs=5.1e-5)
    assert terms.addressing * 1e-6 == pytest.approx(addressing, abs=5.1e-5)
    assert terms.total * 1e-9 == pytest.approx(total, abs=1.1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_at_the_papers_rates_corrected_terms_are_lower_for_clif(shapes: dict[str, list[LayerShape]], task: str):
    """Table 7 prints 1.7 to 2.2 times LIF's energy for CLIF; docs/science.md quotes these ratios."""
    timesteps, totals = TASKS[task][-1], {}
    for neuron in ("lif", "clif"):
        rates = [float(rate) / 100 for rate in RATES[task, neuron].split()]
        counted, firing, fired = [], [], {}
        # Dense operations times the rate of the neurons before: as the paper counts, an analog image is all ones.
        for shape, rate_in, rate_out in zip(shapes[task], [1.0, *rates], [*rates, None], strict=True):
            dense = timesteps * shape.output_elements * shape.products_per_output
            inputs = timesteps * shape.input_elements
            macs, acs = (dense, 0.0) if not counted else (0.0, dense * rate_in)
            counted.append(SynapticLayer(shape.name, shape.kind, acs, macs, dense, inputs * rate_in, inputs))
            if rate_out is not None:
                firing.append(Layer(shape.name, "neuron", 0, 0, shape.output_elements, ""))
                fired[shape.name] = rate_out
        by_name = {shape.name: shape for shape in shapes[task]}
        operations = SynapticOperations(tuple(counted))
        totals[neuron] = corrected_terms(operations, by_name, firing, fired, traits_of(neuron), timesteps).total
    expected = {"CIFAR10": 0.82, "CIFAR100": 0.93, "Tiny-ImageNet": 0.77, "CIFAR10-DVS": 0.83, "Gesture": 0.95}
    assert totals["clif"] / totals["lif"] == pytest.approx(expected[task], abs=0.006)
    printed = TABLE7[task, "clif"][-1] / TABLE7[task, "lif"][-1]
    assert 1.7 < printed < 2.2


def test_access_costs_by_the_size_of_the_memory():
    assert [access_energy(size) for size in (8192, 32768, 1048576)] == [10.0, 20.0, 100.0]
    assert access_energy((8192 + 32768) / 2) == pytest.approx(15.0)
    assert access_energy(4) == 10.0 and access_energy(1e9) == 100.0


CONV = LayerShape("conv", "conv", (2, 8, 8), (4, 8, 8), (3, 3), 1, 1, 76)
LINEAR = LayerShape("linear", "linear", (256,), (10,), parameters=2570)
# 30 nonzero inputs in 5 time steps, which meet 900 and 300 weights.
COUNTED = SynapticOperations(
    (
        SynapticLayer("conv", "conv", 0, 900, 5 * 4 * 18 * 64, 30, 5 * 128),
        SynapticLayer("linear", "linear", 300, 0, 5 * 2560, 30, 5 * 256),
    )
)
FIRING = [Layer("neuron", "neuron", 0, 0, 256, "")]


def corrected(neuron: str) -> MemoryEnergy:
    return corrected_terms(
        COUNTED, {"conv": CONV, "linear": LINEAR}, FIRING, {"neuron": 30 / (5 * 256)}, traits_of(neuron), 5
    )


def test_corrected_terms_of_a_network_of_two_layers_by_hand():
    found = corrected("lif")
    # All maps and weights but the linear layer's fit in 8 kB; its 2570 parameters take 10,280 bytes.
    weights = 10 + 10 * (10280 - 8192) / (32768 - 8192)
    assert found.potentials == pytest.approx(10 * 2 * (900 + 5 * 256 + 300 + 5 * 10 + 5 * 256))
    assert found.parameters == pytest.approx(10 * (900 + 5 * 256) + weights * (300 + 5 * 10))
    assert found.in_out == pytest.approx(10 * (30 + 30 + 30))
    biases = 5 * (256 + 10)
    assert found.arithmetic == pytest.approx(4.6 * (900 + 2 * 5 * 256) + 0.9 * (300 + biases))
    assert found.addressing == pytest.approx(3.2 * 2 * 30 + 0.1 * (900 + 300 + 5 * 256))
    assert found.total == pytest.approx(sum(getattr(found, name) for name in MemoryEnergy.__dataclass_fields__))


def test_second_state_of_a_neuron_costs_one_more_read_and_write_in_each_step():
    lif, clif = corrected("lif"), corrected("clif")
    assert clif.potentials - lif.potentials == pytest.approx(10 * 2 * 5 * 256)
    assert clif.arithmetic - lif.arithmetic == pytest.approx(4.6 * 4 * 5 * 256)
    assert clif.addressing - lif.addressing == pytest.approx(0.1 * 5 * 256)
    assert (clif.parameters, clif.in_out) == (lif.parameters, lif.in_out)


def test_network_without_spikes_computes_all_products_in_registers():
    found = corrected("relu")
    products, outputs = 5 * 64 * 4 * 18, 5 * 256
    weights = access_energy(4 * 2570)
    assert found.potentials == 0
    assert found.parameters == pytest.approx(10 * (products + outputs) + weights * (5 * 2560 + 50))
    assert found.in_out == pytest.approx(10 * (products + 5 * 256 + outputs))
    assert found.arithmetic == pytest.approx(4.6 * (products + 5 * 2560 + 4 * outputs) + 0.9 * (outputs + 50))
    assert found.addressing == pytest.approx(0.1 * (5 * (128 + 256 + 4 * 9) + 5 * (256 + 10)))


@pytest.mark.parametrize("name", sorted(BUILT_IN_NEURONS))
def test_states_are_those_that_the_node_keeps(name: str):
    node = make_neuron(NeuronConfig(name=name, timesteps=7))
    # psn has no state, but a sum for each time step.
    kept = 7 if name == "psn" else len(getattr(node, "_memories", ()))
    assert traits_of(name).state_values(7) == kept and (kept > 0 or name == "relu")


def test_shapes_say_what_a_layer_connects():
    network = nn.Sequential(
        nn.Flatten(0, 1), nn.Conv2d(4, 8, (3, 5), stride=2, groups=2), nn.Flatten(), nn.Linear(8 * 3 * 2, 3)
    )
    conv, linear = layer_shapes(network, torch.ones(1, 1, 4, 8, 8)).values()
    assert (conv.inputs, conv.outputs, conv.kernel, conv.stride, conv.groups) == ((4, 8, 8), (8, 3, 2), (3, 5), 2, 2)
    assert conv.products_per_output == 2 * 15 and conv.parameters == 8 * 30 + 8
    assert (linear.inputs, linear.outputs, linear.products_per_output) == ((48,), (3,), 48)
