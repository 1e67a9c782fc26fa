"""Searches over an objective of your own: its space, its trials through Ray, and their ledger."""
