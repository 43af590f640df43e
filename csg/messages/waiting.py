"""Lines in the log of how far something has come that somebody waits for; none where it is quick."""

from __future__ import annotations

import logging
import time
from typing import Final

from csg.messages.text import make_one_line

SECONDS: Final = 10.0
"""Between two lines, and before the first."""


class WaitingLines:
    """Says every few seconds how many things are done."""

    def __init__(self, what: str, total: int | None = None) -> None:
        """Take the words before the number, such as ``listed``, and after it, such as ``files below DIR``.

        Args:
            what: with ``{}`` for the number, or for ``done of total`` where there is one.
            total: how many there are.
        """
        self._what, self._total = make_one_line(what), total
        self._done, self._said = 0, time.monotonic()

    def add(self, done: int) -> None:
        """Count things that are done."""
        self._done += done
        now = time.monotonic()
        if now - self._said >= SECONDS:
            self._said = now
            number = f"{self._done:,}" if self._total is None else f"{self._done:,} of {self._total:,}"
            logging.getLogger(__name__).warning("%s", self._what.replace("{}", number, 1))
