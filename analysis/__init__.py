"""What came out: statistics, tables and figures of runs, read from the tracking store."""
