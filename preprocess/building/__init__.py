"""From recordings to an event store, and from an event store to a frame cache."""
