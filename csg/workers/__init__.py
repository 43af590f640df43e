"""Ray: the cluster, and one run trained by several processes."""
