"""Ablations as data."""
