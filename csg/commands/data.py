"""``csg data check``: look at every image of a pair on disk, and say what is wrong with it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from csg.commands.verification import ImageProgress
from csg.data.check import Report, check
from csg.data.pair import SOURCE_SHIFTED
from csg.parsing import parse_flags

USAGE = "usage: csg data check [flags] (csg data check --help shows them)"
SHOWN = 100
"""Faults that are printed; the report has all."""


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    """Flags of ``csg data check``."""

    config: Path | None = None
    """YAML file with settings; flags override it."""


def data(argv: Sequence[str], console: Console) -> int:
    """Run a sub-command; there is one.

    Returns:
        0 when the data are as they should be, 1 when something is wrong with them, 130 when interrupted.
    """
    if not argv or argv[0] != "check":
        wanted = "" if not argv or argv[0] in ("-h", "--help") else f"; found {argv[0]!r}"
        console.print(USAGE + wanted, highlight=False, markup=False)
        return 0 if argv and not wanted else 2
    flags = parse_flags(
        CheckOptions,
        argv[1:],
        prog="csg data check",
        description="Look at every image of a pair on disk, and say what is wrong with it.",
    )
    try:
        with ImageProgress(console) as progress:
            report = check(flags.config.data, progress)
    except KeyboardInterrupt:
        console.print("Interrupted; nothing was kept.")
        return 130
    _print_counts(report, console)
    _print_faults(report, console)
    console.print(f"report: {report.path}", highlight=False, soft_wrap=True)
    return 0 if report.usable else 1


def _print_counts(report: Report, console: Console) -> None:
    """Show images per class: of the streams where the data can be split into them, else of both sides."""
    columns = {name: stream for name, stream in report.streams.items() if name != SOURCE_SHIFTED} or report.domains
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name in report.domains["source"]["images_per_class"]:
        table.add_row(name, *(f"{column['images_per_class'][name]:,}" for column in columns.values()))
    table.add_row("all", *(f"{column['images']:,}" for column in columns.values()), style="bold")
    console.print(table)
    for side, described in report.domains.items():
        pixels = ", ".join(
            f"{name} {of['smallest']} to {of['largest']} (median {of['median']})"
            for name, of in described["pixels"].items()
        )
        console.print(
            f"{side}: {described['images']:,} images, {described['bytes'] / 1e6:,.1f} MB, {pixels}: "
            f"{described['folder']}",
            highlight=False,
            soft_wrap=True,
        )


def _print_faults(report: Report, console: Console) -> None:
    if not report.faults:
        console.print("[green]nothing is wrong[/]")
        return
    kinds = Counter(fault.kind for fault in report.faults)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    faults = "1 fault" if len(report.faults) == 1 else f"{len(report.faults):,} faults"
    console.print(f"[red]{faults}[/]: {counts}", highlight=False, soft_wrap=True)
    for fault in report.faults[:SHOWN]:
        console.print(f"  {fault.kind}: {fault}", highlight=False, soft_wrap=True, markup=False)
    if len(report.faults) > SHOWN:
        console.print(f"  and {len(report.faults) - SHOWN:,} more, in the report")
