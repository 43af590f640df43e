"""Runs as tables and figures read them, and which of them may be compared."""
