"""Prophesee's formats: EVT 2.0, EVT 2.1, EVT 3.0 and .dat, one module each, with their kernels."""
