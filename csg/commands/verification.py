"""What is asked of data before anything is trained: that they are all there, and that every image can be read."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from csg.config import Config
from csg.data import ON_DISK, load_pair
from csg.data.check import verified
from csg.data.domain import UNREADABLE
from csg.data.pair import Pair
from csg.training.loop import steps_per_epoch

LOG_LINES = 10
"""Lines of progress where output goes to a file."""


class ImageProgress:
    """A bar for a person, a line now and then for a log file; nothing where nothing is looked at."""

    def __init__(self, console: Console, doing: str = "checking", done: str = "checked") -> None:
        """Say on ``console`` that images are being looked at, in two forms of one verb."""
        self._console = console
        self._done = done
        columns = (
            TextColumn(f"{doing} images"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(doing, total=None, visible=False)
        self._lines = 0

    def __enter__(self) -> ImageProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` images were looked at."""
        self._bar.update(self._task, completed=done, total=total, visible=True)
        if not self._console.is_terminal and done * LOG_LINES // total > self._lines:
            self._lines = done * LOG_LINES // total
            self._console.print(f"{self._done} {done:,} of {total:,} images", highlight=False)


def open_pair(config: Config, console: Console) -> Pair:
    """Load a pair that can be trained on. Images on disk are all looked at, unless they were before.

    Raises:
        ConfigError: the data are not there, are at fault, or are fewer than a batch.
        SystemExit: 130, when Ctrl-C ends the looking.
    """
    pair = load_pair(config.data)
    steps_per_epoch(config, pair)
    if config.data.name in ON_DISK:
        try:
            with ImageProgress(console) as progress:
                report = verified(config.data, progress)
        except KeyboardInterrupt:
            console.print("Interrupted; nothing was trained.")
            raise SystemExit(130) from None
        skipped = sum(fault.kind in UNREADABLE for fault in report.faults)
        if skipped:
            console.print(
                f"{skipped:,} images cannot be used and are skipped: {report.path}", highlight=False, soft_wrap=True
            )
    return pair
