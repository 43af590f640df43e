"""Ablations: what is run of a design, and the table that comes of it."""
