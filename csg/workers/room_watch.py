"""Tells the user when the cluster becomes too small for runs that wait, and when it is large enough again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from csg.workers.cluster import Slots

LOOK_SECONDS = 2.0
"""How often a search or an ablation checks whether a run still fits on the cluster."""


class RoomWatch:
    """Reports when some runs do not fit on the cluster any more, and when they fit again."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Take ``tell``, which shows a line to the user."""
        self._tell = tell
        self._told = ""
        self._looked = -math.inf

    def look(self, slots: Slots) -> None:
        """Check whether what may run fits, at most every LOOK_SECONDS; report each change once."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        shortages = slots.shortages()
        if len(shortages) == len(slots.configs):
            text = f"Waiting for machines: {shortages[0]}. Nothing is lost: it goes on by itself when machines come; "
        elif shortages:
            text = f"Some runs wait for machines: {shortages[0]}. The others go on, and these when machines come; "
        else:
            text = ""
        if text != self._told:
            self._told = text
            ending = "Ctrl-C ends it, and the same command goes on later."
            self._tell(text + ending if text else "The cluster has room again: going on.")
