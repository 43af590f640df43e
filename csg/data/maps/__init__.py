"""Images with a class for every pixel: their label maps, files and streams."""
