"""The loop, its optimiser, its evaluation and its state."""
