"""Events in MATLAB files: version 5, read by SciPy, and version 7.3, which is HDF5."""
