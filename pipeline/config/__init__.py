"""The configuration of a run: its fields, their checks, and which of them have no effect."""
