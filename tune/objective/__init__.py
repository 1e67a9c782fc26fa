"""Searches over a custom objective: its space, its trials with Ray, and their ledger."""
