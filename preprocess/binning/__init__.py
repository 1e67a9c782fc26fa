"""Binning of events into frames: rules that divide a sample in time, and kernels that count its events."""
