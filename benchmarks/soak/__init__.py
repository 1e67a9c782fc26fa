"""Load and soak: sizes, durations and accidents that tests are too short for; ``python -m benchmarks.soak``."""
