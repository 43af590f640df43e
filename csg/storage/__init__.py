"""Files and buckets: where things lie, and how they are written whole."""
