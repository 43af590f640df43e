"""Commands on the page, each line broken before a flag and not within it."""

from __future__ import annotations

import html
import re
from typing import Final

from analysis.runs.provenance import join_commands
from csg.tracking import TrackedRun

FLAG: Final = re.compile(r"(?<!\S)--\S+")


def write_command_block(run: TrackedRun) -> str:
    """Return what trains a run again, as HTML."""
    return f"<pre>{FLAG.sub(_mark_flag, html.escape(join_commands(run)))}</pre>"


def _mark_flag(found: re.Match[str]) -> str:
    """Return a flag as an element, which a browser does not break at its hyphens."""
    return f"<span>{found[0]}</span>"
