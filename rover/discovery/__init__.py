"""Who runs here: the first scan, the kernel's events and the reconcile become the table."""
