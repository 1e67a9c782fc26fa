"""The figures of a comparison: of each setting, and of all settings together."""
