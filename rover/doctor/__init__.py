"""What this host, the backend and the cluster allow, looked at one by one, and how to mend it."""
