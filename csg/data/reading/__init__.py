"""From files to images: what is found, whether it changed, and how it is decoded."""
