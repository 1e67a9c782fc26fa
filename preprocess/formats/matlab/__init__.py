"""Events in MATLAB files: version 4 to 7, decoded here, and version 7.3, which is HDF5."""
