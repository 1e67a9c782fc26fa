"""Shared by all commands: arguments, errors as one line each, exit codes, tables, progress."""
