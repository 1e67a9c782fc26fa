"""What every command shares: arguments, errors in one line, exit codes, tables, progress."""
