"""What is searched, a file for each kind of method."""
