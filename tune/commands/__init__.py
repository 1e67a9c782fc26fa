"""One command per file; each has `run(argv)`."""
