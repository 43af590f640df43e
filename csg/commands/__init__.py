"""The commands of ``csg``, a file each."""
