"""Running processes, by their name, by what started them and by the files they have open."""

from __future__ import annotations

import contextlib
from pathlib import Path


def processes_named(start: str) -> list[int]:
    """Find the processes whose command line starts so."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(start.encode()):
                found.append(int(entry.name))
    return found


def descends(process: int, ancestor: int) -> bool:
    """Whether a process was started by another one, or by one of its children, and so on."""
    with contextlib.suppress(OSError):
        while process not in (0, ancestor):
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process == ancestor


def holding(folder: Path) -> set[int]:
    """Find the processes that have a file below a folder open, such as the lock of a run that they train."""
    found: set[int] = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(folder):
                found.add(int(link.parts[2]))
    return found
