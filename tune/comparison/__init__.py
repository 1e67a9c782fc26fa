"""Comparisons of neurons: plan, runs, statistics, conclusions."""
