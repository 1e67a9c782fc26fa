"""One part of the soak per file: ``run(setting)`` does the work, checks it and returns an `Outcome`."""
