"""Training of one run: epochs, optimiser steps, checkpoints."""
