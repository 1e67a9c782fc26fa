"""CPUs, GPUs, memory and time of trials."""
