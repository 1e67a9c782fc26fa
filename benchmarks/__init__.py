"""Comparisons with SpikingJelly and tonic; each checks that the results are equal before it measures times."""
