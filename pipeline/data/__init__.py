"""Data sets and loaders: from a frame cache or event store to batches."""
