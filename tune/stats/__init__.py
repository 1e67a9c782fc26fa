"""Statistics of numbers alone; knows no files."""
