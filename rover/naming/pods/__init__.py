"""Names of the processes in a node's pods."""
