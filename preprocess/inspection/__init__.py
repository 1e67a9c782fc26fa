"""Looking at recordings, and checking caches."""
