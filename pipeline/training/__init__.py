"""One run: epochs, optimiser, checkpoints."""
