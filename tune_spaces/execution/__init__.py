"""How the trials of searches and ablations run: one driver, one kind of trial, one recorder."""
