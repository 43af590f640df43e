"""Searches: flags, journal, sampler, scheduler and summary."""
