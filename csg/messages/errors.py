"""Errors that end a command with exit code 2."""

from __future__ import annotations


class UserError(ValueError):
    """A setting, a flag or a file that a user gave cannot be used.

    The message names it, what was expected, what was found, and what to do.
    """


class BadDataError(UserError):
    """The data cannot be used: images are damaged or absent, or too few can be read."""
