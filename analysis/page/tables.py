"""Tables for the page: each fits its width, by wrapping, and on a narrow screen as a list of its rows."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Final

from analysis.tables.table import MISSING, Entry, Table
from csg.messages.text import make_printable
from csg.messages.wording import pluralize

Link = Callable[[str], str]
MANY_COLUMNS: Final = 12
"""A table with more columns than these, and fewer rows, is turned."""
SPREAD: Final = re.compile(r"(?<= )(± \S+|\[[^]]*\]\S*)")
"""What is never broken within a cell: the spread, or the interval, of a figure."""


def write_table(table: Table, link: Link) -> str:
    """Return a table with its title above and its caption below.

    Args:
        table: the table.
        link: returns the address of a run within the page, by the run's id. A figure links to its first run, and its
            tooltip names all.
    """
    cells = table.cells
    if cells.shape[1] > max(MANY_COLUMNS, len(cells)):
        cells = cells.T
    heading = html.escape(str(table.cells.columns.name))
    headings = [html.escape(make_printable(str(each))).replace(" %", "&nbsp;%") for each in cells.columns]
    rows = [
        f"<tr><th scope='row'>{html.escape(make_printable(str(label)))}</th>"
        + "".join(_write_cell(entry, each, link) for entry, each in zip(entries, headings, strict=True))
        + "</tr>"
        for label, *entries in cells.itertuples()
    ]
    head = "".join(f"<th scope='col'>{each}</th>" for each in (heading, *headings))
    return (
        f"<figure id='{name_anchor(table.name)}'><h3>{html.escape(table.title)}</h3><div class='scroll'>"
        f"<table class='stacked'><thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div>"
        f"<figcaption>{html.escape(table.caption)}</figcaption></figure>"
    )


def name_anchor(name: str) -> str:
    """Return the name of an element of the page; any but letters, digits and ``._-`` become a hyphen."""
    return re.sub(r"[^\w.-]", "-", name)


def _write_cell(entry: Entry, heading: str, link: Link) -> str:
    """Write a cell. ``heading`` stands beside it where a row is a list."""
    text = SPREAD.sub(r"<span>\1</span>", html.escape(make_printable(entry.marked)))
    text = f"<strong>{text}</strong>" if entry.emphasis == "best" else text
    if entry.values:
        runs = html.escape(f"{entry.metric} of {pluralize(len(entry.values), 'run')}: {', '.join(entry.values)}")
        text = f'<a href="{html.escape(link(next(iter(entry.values))))}" title="{runs}">{text}</a>'
    missing = " class='missing'" if entry.text == MISSING else ""
    return f"<td data-heading='{heading}'{missing}><div>{text}</div></td>"
