"""One verb a file; each has `run(words)`."""
