"""Frames that other programs made: reading their files, and importing them as a frame cache."""
