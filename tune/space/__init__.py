"""Search spaces: their grammar and their dimensions."""
