"""AEDAT, iniVation's formats: versions 2.0, 3.1 and 4, one module each, with their kernels."""
