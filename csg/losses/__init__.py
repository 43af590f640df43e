"""Pure functions, one per equation."""
