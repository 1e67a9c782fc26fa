"""Analyses of a network besides its accuracy: operations and energy."""
