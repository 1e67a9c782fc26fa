"""Designs: predefined comparisons, declared before they run."""
