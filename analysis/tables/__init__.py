"""The tables, and where each cell comes from."""
