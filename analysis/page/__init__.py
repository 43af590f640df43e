"""The parts of the page about an experiment: its summary, tables, figures and runs."""
