"""From what happens on the host to a table of processes and their entities."""
