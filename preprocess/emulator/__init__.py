"""An emulated event camera that records shapes and digits as raw files in real formats, marked as emulated."""
