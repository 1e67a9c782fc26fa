"""Statistics, computed from plain numbers; reads no files."""
