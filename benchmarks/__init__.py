"""Benchmarks of speed and memory. Ratios come from one run, so that they do not depend on the machine's load."""
