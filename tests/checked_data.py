"""What holds of a check of any pair on disk: it finds what was planted, and says whether training would start."""

from __future__ import annotations

import json
import os
from pathlib import Path

from csg import data
from csg.config import DataConfig
from csg.data.check import check, read_report, verify
from csg.data.fault import IMPASSABLE, UNREADABLE
from csg.messages.errors import UserError


def forget() -> None:
    """Let what a process remembers of files go, as after a change of them within the same moment."""
    data._list_domains.cache_clear()
    data._load_once.cache_clear()


def repaint(path: Path) -> None:
    """Put other bytes, as many, in a file's place, and give it back the time of modification that it had."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(bytes(255 - byte for byte in content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def finds_only(config: DataConfig, *, kind: str, place: str) -> None:
    """See that a check finds one fault, and keeps its report."""
    report = check(config)
    assert [(fault.kind, fault.place) for fault in report.faults] == [(kind, place)]
    assert report.usable == (kind not in (*IMPASSABLE, *UNREADABLE))
    assert json.loads(report.path.read_text())["usable"] == report.usable
    assert read_report(report.path) == report


def starts(config: DataConfig) -> bool:
    """Whether a training with these data would start, which a check must say too."""
    try:
        data.load_pair(config)
        verify(config)
    except UserError:
        would = False
    else:
        would = True
    assert check(config).usable == would
    return would
