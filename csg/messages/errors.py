"""What users did that cannot be done."""

from __future__ import annotations


class UserError(ValueError):
    """Something that a user gave cannot be used: a setting, a flag, a file.

    The message names it, says what was expected and what was found, and what to do.
    """
