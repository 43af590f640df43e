"""How far a command is: a bar for a person, a line now and then for a log file."""

from __future__ import annotations

from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from csg.messages.console import Console
from csg.messages.wording import pluralize


class CountProgress:
    """Shows how many of a number of things are done; nothing before it is told of the first."""

    def __init__(self, console: Console, *, doing: str, line: Callable[[int, int], str], lines: int) -> None:
        """Show it on ``console``.

        Args:
            console: where to.
            doing: names the work, ahead of the bar.
            line: makes a log file's line of how many are done, and of how many.
            lines: so many at most.
        """
        self._console = console
        self._line, self._lines = line, lines
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(doing, total=None, visible=False)
        self._printed = 0

    def __enter__(self) -> CountProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        self._bar.update(self._task, completed=done, total=total, visible=True)
        if not self._console.is_terminal and done * self._lines // total > self._printed:
            self._printed = done * self._lines // total
            self._console.print(self._line(done, total))


def show_image_progress(console: Console, doing: str, done: str) -> CountProgress:
    """Make one for images that are being looked at, which ``doing`` and ``done`` say in two forms of one verb."""

    def line(ready: int, total: int) -> str:
        return f"{done} {ready:,} of {pluralize(total, 'image')}"

    return CountProgress(console, doing=f"{doing} images", line=line, lines=10)


def show_step_progress(console: Console) -> CountProgress:
    """Make one for the steps of a training."""
    return CountProgress(console, doing="training steps", line="step {}/{}".format, lines=20)
