"""Tables and figures of runs, which are read from the tracking store."""
