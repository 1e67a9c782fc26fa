"""Running trials and reading what they wrote."""
