"""An emulated event camera that films shapes and digits into genuine raw files, and says so in each of them."""
