"""Commands and flags on the page, each line broken before a flag and not within it."""

from __future__ import annotations

import html
import re
from typing import Final

from analysis.runs.provenance import join_commands
from csg.tracking import TrackedRun

FLAG: Final = re.compile(r"(?<!\S)--\S+")


def write_command_block(run: TrackedRun) -> str:
    """Return what trains a run again, as HTML."""
    return f"<pre>{write_with_flags(join_commands(run))}</pre>"


def write_with_flags(text: str) -> str:
    """Return a text as HTML, whose flags are elements, which a browser does not break at their hyphens."""
    return FLAG.sub(lambda found: f"<span>{found[0]}</span>", html.escape(text))
