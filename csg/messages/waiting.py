"""How far something has come that somebody waits for: a bar in a terminal, lines in a log; none where it is quick."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from csg.messages.text import make_one_line

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS: Final = 10.0
"""Between two lines, and before the first."""
BAR_SECONDS: Final = 1.0
"""Before a bar is shown."""
DRAWN_SECONDS: Final = 0.1
"""Between two changes of a bar."""


class Waiting:
    """Shows how many things are done while the block lasts."""

    def __init__(self, doing: str, line: str, total: int | None = None) -> None:
        """Take what is said.

        Args:
            doing: name of the work, before the bar.
            line: of the log, such as ``found {} files below DIR``, with ``{}`` for the number, or for ``done of total``
                where there is a total.
            total: how many there are; None where nobody knows.
        """
        self._doing, self._line, self._total = doing, make_one_line(line), total
        self._done, self._began = 0, time.monotonic()
        self._said = self._drawn = self._began
        self._bar: Progress | None = None

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, done: int) -> None:
        """Count things that are done."""
        self._done += done
        now = time.monotonic()
        if self._bar is None and now - self._began >= BAR_SECONDS:
            self._bar = self._show()
        if self._bar is not None and now - self._drawn >= DRAWN_SECONDS:
            self._drawn = now
            self._bar.update(self._bar.task_ids[0], completed=self._done)
        if (self._bar is None or self._bar.disable) and now - self._said >= SECONDS:
            self._said = now
            number = f"{self._done:,}" if self._total is None else f"{self._done:,} of {self._total:,}"
            logging.getLogger(__name__).warning("%s", self._line.replace("{}", number, 1))

    def _show(self) -> Progress:
        """Show a bar, below one that is shown already; nothing where there is no terminal."""
        from csg.messages.progress import find_console, make_bar

        bar = make_bar(find_console(), self._doing)
        bar.add_task(self._doing, total=self._total, completed=self._done)
        bar.start()
        return bar
