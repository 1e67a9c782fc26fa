"""Event stores and frame caches, and how they lie in HDF5."""
