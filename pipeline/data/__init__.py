"""From a frame cache to batches."""
