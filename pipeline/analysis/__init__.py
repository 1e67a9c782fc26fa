"""Analyses of a trained network besides its accuracy, each a function with a typed result; `registry` lists them."""
