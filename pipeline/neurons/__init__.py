"""Spiking neurons, multi-step: input current (T, B, ...) to spikes of the same shape."""

from pipeline.neurons.clif.node import CLIFNode as CLIFNode
from pipeline.neurons.lif.node import LIFNode as LIFNode
from pipeline.neurons.make_neuron import NEURONS as NEURONS
from pipeline.neurons.make_neuron import make_neuron as make_neuron
