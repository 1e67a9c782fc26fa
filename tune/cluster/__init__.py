"""Ray sessions, nodes, and files on several machines."""
