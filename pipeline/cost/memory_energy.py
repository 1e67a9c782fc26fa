"""Energy of an inference with memory accesses and addressing (Lemaire et al., ICONIP 2022), the model of Table 7.

Five terms: reading and writing the potentials of the neurons, reading parameters, reading inputs and writing outputs,
arithmetic, and computing addresses. There are two versions.

`printed_terms` are the CLIF paper's own (Huang et al., ICML 2024, Table 7); all digits of its numbers follow from them.
They depart from Lemaire et al. and from the paper's Table 6:

- an access costs what a memory would whose size in bytes is the *number of accesses*, so that all but the smallest
  networks pay the most, 100 pJ, everywhere;
- T multiplies the updates of the neurons in the arithmetic term, but no spikes and no memory accesses;
- m of CLIF costs three more reads and one more write of a potential for *each synaptic operation*, although m changes
  once in each time step; this makes CLIF's total about twice LIF's;
- a linear layer adds inputs x outputs for each spike instead of outputs;
- rates are those of the neurons before a layer, also behind an average pooling, whose outputs are not spikes;
- strides divide the kernel and are rounded down, and borders are not left out;
- an operation on integers, 0.1 and 3.1 pJ, where Table 6 has floating-point numbers, 0.9 and 4.6 pJ.

`corrected_terms` follow Lemaire et al. with these errors removed: the nonzero inputs and the operations of each layer
are those that were counted (`pipeline.cost.synaptic_operations`), everything is counted in each of the T time steps, an
access costs by the size of the memory that is accessed, and each neuron reads and writes its states once in each time
step, while each synaptic operation reads and writes one sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.config.neurons import NeuronTraits
from pipeline.cost.energy import PJ_PER_AC, PJ_PER_MAC
from pipeline.cost.layer_shapes import LayerShape
from pipeline.cost.operations import Layer
from pipeline.cost.synaptic_operations import SYNAPTIC, SynapticLayer, SynapticOperations

PJ_PER_INTEGER_AC = 0.1
PJ_PER_INTEGER_MAC = 3.1 + 0.1
"""Addition, and multiplication with addition, of 32-bit integers in 45 nm (Horowitz, ISSCC 2014)."""

# Energy of an access to SRAM of this size in bytes (Horowitz, ISSCC 2014).
_BYTES = (8 * 1024, 32 * 1024, 1024 * 1024)
_PJ_PER_ACCESS = (10.0, 20.0, 100.0)
_BYTES_PER_VALUE = 4

PRINTED_NEURONS = ("relu", "lif", "clif")
"""The neurons in Table 7."""


@dataclass(frozen=True)
class MemoryEnergy:
    """The terms of the energy of one inference, in pJ.

    Attributes:
        potentials: Reading and writing the states of the neurons.
        parameters: Reading weights and biases.
        in_out: Reading the inputs and writing the outputs of layers.
        arithmetic: Synaptic operations and updates of neurons.
        addressing: Computing the addresses of memory accesses.
    """

    potentials: float = 0.0
    parameters: float = 0.0
    in_out: float = 0.0
    arithmetic: float = 0.0
    addressing: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all terms, in pJ."""
        return sum(getattr(self, term.name) for term in fields(self))

    @property
    def total_uj(self) -> float:
        """The sum of all terms, in µJ."""
        return self.total * 1e-6

    def __add__(self, other: MemoryEnergy) -> MemoryEnergy:
        return MemoryEnergy(*(getattr(self, term.name) + getattr(other, term.name) for term in fields(self)))


def access_energy(size: float) -> float:
    """Energy in pJ of one access to a memory of this size in bytes: linear between the sizes that are known.

    Beyond the smallest and the largest one, it is theirs: a larger memory can consist of several.
    """
    return float(np.interp(size, _BYTES, _PJ_PER_ACCESS))


def corrected_terms(
    synapses: SynapticOperations,
    shapes: Mapping[str, LayerShape],
    neurons: Sequence[Layer],
    rates: Mapping[str, float],
    traits: NeuronTraits,
    timesteps: float,
) -> MemoryEnergy:
    """The terms for one inference of all T time steps.

    A spiking network is driven by events: what a zero input would meet is not accessed. A network of neurons without
    states, such as relu, computes all products, in registers.

    Args:
        synapses: What the inputs of each layer caused. Products of attention are not part of the model.
        shapes: The shape of each convolution and linear layer, by name.
        neurons: The spiking layers, as `Operations.of` returns them.
        rates: Their spikes / (neurons * T * samples), by name.
        traits: Facts about the neuron.
        timesteps: T.
    """
    states = traits.state_values(timesteps)
    total = MemoryEnergy()
    for layer in synapses.of(*SYNAPTIC):
        each = _event_driven if states else _dense
        total += each(layer, shapes[layer.name])
    for neuron in neurons:
        total += _updates(neuron, rates[neuron.name], states, traits, timesteps)
    return total


def _event_driven(layer: SynapticLayer, shape: LayerShape) -> MemoryEnergy:
    """Each nonzero input is read, and each of its operations reads a weight and reads and writes a sum."""
    images = layer.inputs / shape.input_elements
    # The bias, or that of the batch norm which is folded into the layer.
    biases = images * shape.output_elements
    accesses = layer.effective + biases
    # A convolution computes where a kernel lies by two products; a linear layer's rows are addressed by the input.
    origins = 2 * layer.nonzeros if layer.kind == "conv" else 0.0
    return MemoryEnergy(
        potentials=2 * accesses * access_energy(_BYTES_PER_VALUE * shape.output_elements),
        parameters=accesses * access_energy(_BYTES_PER_VALUE * shape.parameters),
        in_out=layer.nonzeros * access_energy(_BYTES_PER_VALUE * shape.input_elements),
        arithmetic=PJ_PER_MAC * layer.macs + PJ_PER_AC * (layer.acs + biases),
        addressing=PJ_PER_INTEGER_MAC * origins + PJ_PER_INTEGER_AC * layer.effective,
    )


def _dense(layer: SynapticLayer, shape: LayerShape) -> MemoryEnergy:
    """Each product reads an input and a weight; the sum of an output stays in a register."""
    images = layer.inputs / shape.input_elements
    products = images * shape.output_elements * shape.products_per_output
    outputs = images * shape.output_elements
    inputs_read = products if layer.kind == "conv" else layer.inputs
    addressed = images * (shape.input_elements + shape.output_elements)
    if layer.kind == "conv":
        addressed += images * shape.channels_out * shape.kernel_size
    return MemoryEnergy(
        parameters=(products + outputs) * access_energy(_BYTES_PER_VALUE * shape.parameters),
        in_out=inputs_read * access_energy(_BYTES_PER_VALUE * shape.input_elements),
        arithmetic=PJ_PER_MAC * products + PJ_PER_AC * outputs,
        addressing=PJ_PER_INTEGER_AC * addressed,
    )


def _updates(neuron: Layer, rate: float, states: int, traits: NeuronTraits, timesteps: float) -> MemoryEnergy:
    """Each neuron reads and writes its states in each time step, and writes its outputs other than zero."""
    updates = neuron.outputs * timesteps
    accesses = 2 * states * updates
    outputs = updates * (rate if states else 1.0)
    return MemoryEnergy(
        potentials=accesses * access_energy(_BYTES_PER_VALUE * states * neuron.outputs),
        in_out=outputs * access_energy(_BYTES_PER_VALUE * neuron.outputs),
        arithmetic=PJ_PER_MAC * traits.macs_per_step(timesteps) * updates,
        addressing=PJ_PER_INTEGER_AC * states * updates,
    )


def printed_terms(
    shapes: Sequence[LayerShape], neuron: str, timesteps: float, rates: Sequence[float] = ()
) -> MemoryEnergy:
    """The terms as Table 7 has them; see the errors that the module's docstring lists.

    Args:
        shapes: The convolutions and the linear layer behind them, in order. The paper leaves out shortcuts and pooling.
        neuron: A key of `PRINTED_NEURONS`; relu is the network of non-spiking neurons, in a single time step.
        timesteps: T.
        rates: Spikes / (neurons * T * samples) of the neurons behind each of the shapes but the last.
    """
    if neuron == "relu":
        return _priced(_sum(_printed_relu(shape) for shape in shapes))
    inputs, outputs = (1.0, *rates), (*rates, 0.0)
    places = zip(shapes, inputs, outputs, strict=True)
    return _priced(_sum(_printed_spiking(*place, timesteps, complementary=neuron == "clif") for place in places))


@dataclass(frozen=True)
class _Counts:
    """Numbers of operations and accesses."""

    macs: float
    acs: float
    read_inputs: float
    read_parameters: float
    read_potentials: float
    write_outputs: float
    write_potentials: float
    addressing_macs: float
    addressing_acs: float


def _sum(counts: Iterable[_Counts]) -> _Counts:
    rows = list(counts)
    return _Counts(*(sum(getattr(row, term.name) for row in rows) for term in fields(_Counts)))


def _printed_relu(shape: LayerShape) -> _Counts:
    outputs, products = shape.output_elements, shape.output_elements * shape.products_per_output
    addressed = shape.input_elements + outputs
    if shape.kind == "conv":
        addressed += shape.channels_out * shape.kernel_size
    read = products if shape.kind == "conv" else shape.input_elements
    return _Counts(products, outputs, read, products + outputs, 0, outputs, 0, 0, addressed)


def _printed_spiking(
    shape: LayerShape, rate_in: float, rate_out: float, timesteps: float, *, complementary: bool
) -> _Counts:
    outputs = shape.output_elements
    arriving, leaving = shape.input_elements * rate_in, outputs * rate_out
    triple, reads, double = (3, 4, 2) if complementary else (1, 1, 1)
    macs = triple * timesteps * outputs
    if shape.kind == "linear":
        met = arriving * outputs
        return _Counts(
            macs=macs,
            acs=arriving * shape.input_elements * outputs + triple * timesteps * leaving,
            read_inputs=arriving,
            read_parameters=met + outputs,
            read_potentials=reads * (arriving + 1) * leaving,
            write_outputs=leaving,
            write_potentials=double * (met + outputs),
            addressing_macs=0,
            addressing_acs=double * met,
        )
    met = arriving * shape.channels_out * shape.kernel_size
    taps = (shape.kernel[0] // shape.stride) * (shape.kernel[1] // shape.stride)
    return _Counts(
        macs=macs,
        acs=arriving * taps * shape.channels_out + timesteps * outputs + triple * leaving,
        read_inputs=arriving,
        read_parameters=met + outputs,
        read_potentials=reads * (met + outputs),
        write_outputs=leaving,
        write_potentials=double * (met + outputs),
        addressing_macs=2 * double * arriving,
        addressing_acs=double * met,
    )


def _priced(counts: _Counts) -> MemoryEnergy:
    def accesses(*numbers: float) -> float:
        return sum(number * _printed_access_energy(number) for number in numbers)

    return MemoryEnergy(
        potentials=accesses(counts.read_potentials, counts.write_potentials),
        parameters=accesses(counts.read_parameters),
        in_out=accesses(counts.read_inputs, counts.write_outputs),
        arithmetic=PJ_PER_INTEGER_AC * counts.acs + PJ_PER_INTEGER_MAC * counts.macs,
        addressing=PJ_PER_INTEGER_AC * counts.addressing_acs + PJ_PER_INTEGER_MAC * counts.addressing_macs,
    )


def _printed_access_energy(accesses: float) -> float:
    """The energy of an access to a memory of as many bytes as there are accesses, in pJ.

    Each segment starts at 0 instead of where the last one ends.
    """
    start, base = 0.0, 0.0
    for size, energy in zip(_BYTES, _PJ_PER_ACCESS, strict=True):
        if accesses <= size:
            return (energy - base) / (size - start) * (accesses - start)
        start, base = size, energy
    return _PJ_PER_ACCESS[-1]
