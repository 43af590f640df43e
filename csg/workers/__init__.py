"""Ray Train: one run by several processes."""
