"""What to run: search spaces, designs, and the scripts that run them."""
