"""LIF: the node, and its kernels for the CPU and for CUDA."""
