"""A real node: Kubernetes' own programs, containerd, and the agent deployed as its users do."""
