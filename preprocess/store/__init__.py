"""Event stores and frame caches in HDF5 files."""
