"""What a few seeds, a few trials and some test images allow one to say."""
