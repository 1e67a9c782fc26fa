"""Estimates of the cost of a run before it is trained."""
