"""``csg data check``: read every image of a pair on disk, list its faults, and say whether a training would start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from csg.commands import check_command
from csg.commands.passed_over import print_not_used
from csg.commands.remarks import print_remarks, remark_on_warmup
from csg.config import Config, yaml_text
from csg.config.flags import HELP
from csg.config.settings import find_places
from csg.data import load_pair
from csg.data.check import Report, check
from csg.data.fault import KINDS_IN_WORDS
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN
from csg.data.pairs.class_map import propose_names
from csg.data.reading.listing import describe_files
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.progress import show_image_progress
from csg.messages.text import get_first_line, make_one_line, make_printable
from csg.messages.wording import pluralize
from csg.parsing import ConfigOptions, parse_flags
from csg.storage.layout import reach_addresses
from csg.training.loop import count_steps_per_epoch
from csg.training.protocol import check_streams

USAGE = "usage: csg data check [flags] (csg data check --help shows them)"
SHOWN = 100
"""Number of faults that are printed. The report has all."""


def data(argv: Sequence[str], console: Console) -> int:
    """Run a sub-command. There is one, ``check``.

    Returns:
        0 when a training with these settings would start on these data, 1 when it would not.

    Raises:
        UserError: there is no such sub-command, there are no data, or a setting exceeds the number of images.
    """
    if argv and argv[0] in HELP:
        console.print(USAGE)
        return 0
    check_command("csg data", argv, ("check",))
    flags = parse_flags(
        ConfigOptions,
        argv[1:],
        prog="csg data check",
        description="Look at every image of a pair on disk, and say what is wrong with it.",
    )
    reach_addresses(find_places(flags.config.data, "read", "data."))
    remark = _check_schedule(flags.config)
    with show_image_progress(console, "checking", "checked", left="nothing was kept") as progress:
        report = check(flags.config.data, progress)
    _print_counts(report, console)
    for side, kinds in report.passed_over.items():
        print_not_used(kinds, report.domains[side]["several_frames"], console, side=side)
    _print_faults(report, console)
    _propose_class_map(report, console)
    _print_verdict(report, console)
    print_remarks([remark], console)
    console.print(f"report: {report.path}")
    return 0 if report.usable else 1


def _check_schedule(config: Config) -> str:
    """Refuse what a training would refuse of streams and batch size, and return what is to be said of the schedule.

    If the data cannot be loaded, the check says why.
    """
    try:
        pair = load_pair(config.data)
    except UserError:
        return ""
    check_streams(pair)
    count_steps_per_epoch(config, pair)
    return remark_on_warmup(config, images=len(pair.streams[SOURCE_TRAIN]))


def _print_counts(report: Report, console: Console) -> None:
    """Print the number of images of each class, by source, if there are several, and stream.

    If the data cannot be split into streams, images are counted by side.

    With label maps, an image counts for every class that it shows, and the share of the pixels is printed too. Images
    without labels are counted apart.
    """
    sources = {name: domain for name, domain in report.domains.items() if name.startswith("source ")}
    streams = {name: stream for name, stream in report.streams.items() if name != SOURCE_SHIFTED}
    columns = {**sources, **streams} if streams else report.domains
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in columns:
        table.add_column(make_one_line(name), justify="right", no_wrap=True)
    for name in next(iter(report.domains.values()))["images_per_class"]:
        table.add_row(make_one_line(name), *(_format_count(column, name) for column in columns.values()))
    if any("without_label" in column for column in columns.values()):
        table.add_row("without label", *(f"{column.get('without_label', 0):,}" for column in columns.values()))
    table.add_row("all", *(f"{column['images']:,}" for column in columns.values()), style="bold")
    console.print(table)
    for side, described in report.domains.items():
        without = " without labels" if described.get("without_label") else ""
        figures = [f"{pluralize(described['images'], 'image')}{without}", f"{described['bytes'] / 1e6:,.1f} MB"]
        figures += [
            f"{name} {of['smallest']} to {of['largest']} (median {of['median']})"
            for name, of in described["pixels"].items()
        ]
        figures += (
            [f"{described['labelled_share']:.2%} of the pixels labelled"] if "labelled_share" in described else []
        )
        console.print(f"{make_one_line(side)}: {', '.join(figures)}: {described['folder']}")


def _format_count(column: Mapping[str, Any], name: str) -> str:
    if name not in column["images_per_class"]:  # nobody knows
        return "-"
    images: int = column["images_per_class"][name]
    pixels: dict[str, int] | None = column.get("pixels_per_class")
    return f"{images:,}" if pixels is None else f"{images:,} ({pixels[name] / max(sum(pixels.values()), 1):.2%})"


def _print_faults(report: Report, console: Console) -> None:
    if not report.faults:
        return
    kinds = Counter(fault.kind for fault in report.faults)
    counts = ", ".join(pluralize(count, *KINDS_IN_WORDS[kind]) for kind, count in kinds.items())
    console.print(f"{_count_faults(report)}: {counts}")
    for fault in report.faults[:SHOWN]:
        console.print(f"  {fault.kind}: {make_one_line(str(fault))}")
    if len(report.faults) > SHOWN:
        console.print(f"  and {len(report.faults) - SHOWN:,} more, in the report")


def _propose_class_map(report: Report, console: Console) -> None:
    """Print lines for a class map where only the target has images of some classes."""
    shown: dict[str, set[str]] = {"source": set(), "target": set()}
    for name, described in report.domains.items():
        shown[name.partition(" ")[0]] |= {label for label, images in described["images_per_class"].items() if images}
    proposed = propose_names(shown["target"], shown["source"])
    if proposed and shown["source"]:
        console.print("Only the target has these names. A file of such lines as --data.class-map gives them others:")
        for line in yaml_text.dump(proposed).splitlines():
            console.print(f"  {line}")


def _print_verdict(report: Report, console: Console) -> None:
    """Print whether a training would start, and what it would leave out."""
    if not report.faults:
        verdict = Text("usable: nothing is wrong", style="green")
        if report.not_used:
            verdict = Text.assemble(("usable", "green"), f"; {describe_files(report.not_used)} not used")
    elif report.usable:
        verdict = Text.assemble(("usable", "green"), f", with {_count_faults(report)} that training passes over")
    else:
        refusal = get_first_line(str(report.explain_refusal(report.on_bad_image)), 1000).rstrip(":")
        verdict = Text.assemble(("not usable", "red"), f": {make_printable(refusal)}")
    console.print(verdict)


def _count_faults(report: Report) -> str:
    return pluralize(len(report.faults), "fault")
