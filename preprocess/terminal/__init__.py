"""What all commands share: arguments, errors in one line, exit codes, tables, progress."""
