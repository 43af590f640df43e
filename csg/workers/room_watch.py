"""A cluster that shrinks while runs are wanted: the user hears of it, and that it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from csg.workers.cluster import Slots

LOOK_SECONDS = 2.0
"""How often a running search or ablation looks whether the cluster still has room for a run."""


class RoomWatch:
    """Says when a cluster has shrunk so far that some runs cannot start any more, and when it has room again."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Watch; ``tell`` shows a line to the user."""
        self._tell = tell
        self._told = ""
        self._looked = -math.inf

    def look(self, slots: Slots) -> None:
        """Look now and then, as often as you call it, for room for what may run; each change is told once."""
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
