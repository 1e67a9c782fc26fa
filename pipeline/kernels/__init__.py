"""CPU and GPU primitives that no single neuron owns."""
