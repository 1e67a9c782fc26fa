"""Events to frames: the rules that cut a sample in time, and the kernels that count."""
