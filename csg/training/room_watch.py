"""A cluster that shrinks while runs are wanted: the user hears of it, and that it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from csg.training.cluster import Slots

LOOK_SECONDS = 2.0
"""How often a running search or ablation looks whether the cluster still has room for a run."""


class RoomWatch:
    """Says when a cluster has shrunk so far that no run can start any more, and when it has room again."""

    def __init__(self, slots: Slots, tell: Callable[[str], None]) -> None:
        """Watch for runs of ``slots``; ``tell`` shows a line to the user."""
        self._slots = slots
        self._tell = tell
        self._told: str | None = None
        self._looked = -math.inf

    def look(self) -> None:
        """Look at the cluster, now and then; call it as often as you like. Each change is told once."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        shortage = self._slots.shortage()
        if shortage == self._told:
            return
        self._told = shortage
        if shortage is None:
            self._tell("The cluster has room again: going on.")
        else:
            self._tell(
                f"Waiting for machines: {shortage}. Nothing is lost: it goes on by itself when machines come; Ctrl-C "
                "ends it, and the same command goes on later."
            )
