"""Progress of a command: a bar in a terminal, occasional lines in a log file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from csg.messages.console import Console
from csg.messages.wording import pluralize

_UNDER_WAY: Final[list[Console]] = []
"""What the bars of this process are shown on, one within the other."""


class CountProgress:
    """Shows how many things of a number are done. It shows nothing before the first."""

    def __init__(
        self, console: Console, *, doing: str, line: Callable[[int, int], str], lines: int, left: str = ""
    ) -> None:
        """Prepare the display.

        Args:
            console: shows the bar or the lines.
            doing: name of the work, before the bar.
            line: makes a line for a log file from the number of things done and the number of all.
            lines: largest number of lines.
            left: what is left when Ctrl-C ends the work; the KeyboardInterrupt then says so.
        """
        self._console = console
        self._left = left
        self._shown = ExitStack()
        self._line, self._lines = line, lines
        self._bar = make_bar(console, doing)
        self._task = self._bar.add_task(doing, total=None, visible=False)
        self._printed = 0

    def __enter__(self) -> CountProgress:
        self._bar.start()
        self._shown.enter_context(show_bars_on(self._console))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._shown.close()
        self._bar.stop()
        if isinstance(error, KeyboardInterrupt) and self._left:
            raise KeyboardInterrupt(self._left) from None

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` things of ``total`` are done."""
        self._bar.update(self._task, completed=done, total=total, visible=True)
        if not self._console.is_terminal and done * self._lines // total > self._printed:
            self._printed = done * self._lines // total
            self._console.print(self._line(done, total))


def make_bar(console: Console, doing: str) -> Progress:
    """Make a bar with the name of the work before it, which is gone when it ends; none where there is no terminal."""
    columns = (TextColumn(doing, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def show_bars_on(console: Console) -> Iterator[None]:
    """Show what :func:`find_console` is asked for within the block on ``console``, which draws something already."""
    _UNDER_WAY.append(console)
    try:
        yield
    finally:
        _UNDER_WAY.remove(console)


def find_console() -> Console:
    """Return what the innermost bar under way is shown on, for one within it; else a console of its own."""
    return _UNDER_WAY[-1] if _UNDER_WAY else Console()


def show_image_progress(console: Console, doing: str, done: str, *, left: str) -> CountProgress:
    """Make the display for work on images. ``doing`` and ``done`` are two forms of its verb."""

    def write_line(ready: int, total: int) -> str:
        return f"{done} {ready:,} of {pluralize(total, 'image')}"

    return CountProgress(console, doing=f"{doing} images", line=write_line, lines=10, left=left)
