"""Inference from few seeds, few trials and test images: intervals, tests and rank correlations.

The room is not called ``statistics``, because a script of ``analysis/`` would then import it instead of Python's own.
"""
