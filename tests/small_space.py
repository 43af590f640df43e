"""CSG's search space with a small queue, which is saved in no time after every step."""

from __future__ import annotations

from typing import Final

SEARCHED: Final = ("--space", "csg", "--method.queue-size", "256")
"""Flags that search it."""
