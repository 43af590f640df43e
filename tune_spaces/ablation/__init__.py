"""The driver of a design."""
