"""Inspect and plot recordings and caches, and verify caches."""
