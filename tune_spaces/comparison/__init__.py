"""A design whose every cell is given a search of its own, as many trials for each."""
