"""From the cluster's API to what is known of this node's pods and their services."""
