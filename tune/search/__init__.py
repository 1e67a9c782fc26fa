"""Searches: plan, methods, results, and the final test."""
