"""Events in HDF5 files of data sets and other programs."""
