"""Configurations that have a name."""
