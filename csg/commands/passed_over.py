"""The message of a command about files and frames that are not used."""

from __future__ import annotations

from collections.abc import Sequence

from csg.data.reading.listing import PassedOver, describe_files
from csg.messages.console import Console


def print_not_used(kinds: Sequence[PassedOver], several_frames: int, console: Console, *, side: str = "") -> None:
    """Print the number of unused files by suffix and reason, and of images of which only the first frame is used."""
    start = f"{side}: " if side else ""
    lines = [f"{start}{describe_files(kinds)} not used:", *(f"  {kind}" for kind in kinds)] if kinds else []
    if several_frames:
        images = "1 image has" if several_frames == 1 else f"{several_frames:,} images have"
        lines.append(f"{start}{images} several frames or pages, of which the first is used")
    for line in lines:
        console.print(line)
