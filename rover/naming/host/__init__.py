"""Names of the host's own processes."""
