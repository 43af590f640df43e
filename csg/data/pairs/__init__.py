"""The pairs that ship, a file each, and what they are made of."""
