"""Layers of networks: convolution blocks, batch norm, pooling."""
