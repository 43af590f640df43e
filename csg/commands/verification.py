"""The check of the data before a training: that they are complete, and that every image can be read."""

from __future__ import annotations

from csg.commands.progress import show_image_progress
from csg.config import Config
from csg.data import ON_DISK, load_pair
from csg.data.check import verified
from csg.data.fault import UNREADABLE
from csg.data.pair import Pair
from csg.data.reading.listing import files_in_words
from csg.messages.console import Console
from csg.messages.wording import is_or_are, pluralize
from csg.training.loop import steps_per_epoch


def open_pair(config: Config, console: Console) -> Pair:
    """Load a pair that can be trained on. All images on disk are read, unless they were before.

    Raises:
        UserError: the data are missing, are at fault, or are fewer than a batch.
        SystemExit: 130, when Ctrl-C ends the check.
    """
    pair = load_pair(config.data)
    steps_per_epoch(config, pair)
    if config.data.name in ON_DISK:
        try:
            with show_image_progress(console, "checking", "checked") as progress:
                report = verified(config.data, progress)
        except KeyboardInterrupt:
            console.print("Interrupted; nothing was trained.")
            raise SystemExit(130) from None
        if report.not_used:
            not_used = f"{files_in_words(report.not_used)} not used, as csg data check says: {report.path}"
            console.print(not_used)
        skipped = sum(fault.kind in UNREADABLE for fault in report.faults)
        if skipped:
            what = f"{pluralize(skipped, 'image')} cannot be used and {is_or_are(skipped)} skipped"
            console.print(f"{what}: {report.path}")
    return pair
