"""Convergence of a comparison's runs: whether training had ended, its speed, and epochs doubled until it has."""
