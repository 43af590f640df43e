"""A table with a caption, in the formats that readers want, and where each of its cells comes from."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rich.table import Table as RichTable
from rich.text import Text

from analysis.runs.provenance import SUFFIX, origins
from csg.messages.text import make_one_line, make_printable
from csg.messages.wording import pluralize
from csg.storage.place import Place
from csg.tracking import TrackedRun

MISSING: Final = "-"
Emphasis = Literal["", "best", "not distinguishable"]
SYMBOLS: Final[dict[Emphasis, str]] = {"": "", "best": "", "not distinguishable": "†"}
COLUMNS_OF_A_PAGE: Final = 6
"""Wider tables are shrunk to the width of the text."""
LATEX: Final = {
    **{"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"},
    **{"^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$", "†": r"$^{\dagger}$", "Δ": r"$\Delta$"},
    **{"<": "$<$", ">": "$>$", "²": "$^2$", "|": r"\textbar{}"},
}
"""What stands for a character in LaTeX."""
LABEL: Final = re.compile(r"[^\w:.+-]")
"""What cannot stand in the name of a label."""
MARKDOWN: Final = re.compile(r"[|`*\\]|(?<!\w)_|_(?!\w)|~(?=~)|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[])")
"""What begins or ends a mark of Markdown, or of the HTML in it."""


@dataclass(frozen=True)
class Entry:
    """One cell's text, and what it was computed from."""

    text: str
    emphasis: Emphasis = ""
    metric: str = ""
    """Name of the metric in the tracking store; empty for what is no figure of runs."""
    values: Mapping[str, float] | None = None
    """The metric's value by run id: what the text sums up."""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    label: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Table:
    """Text, row by row; what is missing is shown as missing."""

    name: str
    """Stem of the files; unique among the tables that lie together."""
    title: str
    columns: tuple[str, ...]
    """Headings, the labels' one first."""
    rows: tuple[Row, ...]
    caption: str
    """What the figures are, over what, and under which protocol."""

    def markdown(self) -> str:
        """Return the table for Markdown: best in bold, what cannot be told from it with a dagger."""
        rule = tuple("---" if index == 0 else "---:" for index in range(len(self.columns)))
        rows = [(markdown(row.label), *map(_markdown, row.entries)) for row in self.rows]
        lines = ["| " + " | ".join(line) + " |" for line in (map(markdown, self.columns), rule, *rows)]
        return f"**{markdown(self.title)}**\n\n" + "\n".join(lines) + f"\n\n{markdown(self.caption)}\n"

    def html(self, link: Callable[[str], str]) -> str:
        """Return the table for a page.

        Args:
            link: address of a run, by its id; a figure links to its first run, and names all in its tooltip.
        """
        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        rows = (
            f"<tr><th>{html.escape(row.label)}</th>" + "".join(_html(entry, link) for entry in row.entries) + "</tr>"
            for row in self.rows
        )
        return (
            f"<figure id='{html.escape(self.name)}'><figcaption><strong>{html.escape(self.title)}.</strong> "
            f"{html.escape(self.caption)}</figcaption>\n"
            f"<div class='scroll'><table><thead><tr>{head}</tr></thead>\n<tbody>"
            + "\n".join(rows)
            + "</tbody></table></div></figure>"
        )

    def csv(self) -> str:
        """Return the table as comma-separated values, without marks."""
        text = io.StringIO()
        rows = ((row.label, *(entry.text for entry in row.entries)) for row in self.rows)
        csv.writer(text, lineterminator="\n").writerows([self.columns, *rows])
        return text.getvalue()

    def latex(self) -> str:
        """Return the table as a float for LaTeX, to be set with booktabs (and graphicx, where it is wide)."""
        wide = len(self.columns) > COLUMNS_OF_A_PAGE
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(self.title)}. {latex(self.caption)}}}",
            rf"\label{{tab:{LABEL.sub('-', self.name)}}}",
            *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
            rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex, self.columns)) + r" \\",
            r"\midrule",
            *(" & ".join((_latex_label(row.label), *map(_latex, row.entries))) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}" + ("}" if wide else ""),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def rich(self) -> RichTable:
        """Return the table for a console."""
        table = RichTable(title=Text(make_printable(self.title), style="table.title"))
        for index, column in enumerate(self.columns):
            table.add_column(Text(make_one_line(column)), justify="left" if index == 0 else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(Text(make_one_line(row.label)), *map(_rich, row.entries))
        return table

    def provenance(self, runs: Mapping[str, TrackedRun]) -> dict[str, Any]:
        """Map each cell to the values behind it, by run id; and each run to its identity and settings.

        Args:
            runs: by run id.
        """
        cells = {
            f"{row.label}:{column}": {"text": entry.text, "metric": entry.metric, "values": dict(entry.values)}
            for row in self.rows
            for column, entry in zip(self.columns[1:], row.entries, strict=True)
            if entry.values
        }
        behind = dict.fromkeys(run_id for cell in cells.values() for run_id in cell["values"])
        sources = origins(runs[run_id] for run_id in behind)
        return {"table": self.name, "title": self.title, "cells": cells, "runs": sources}

    def files(self, runs: Mapping[str, TrackedRun]) -> dict[str, str]:
        """Return all that is written of a table, by file name."""
        return {
            f"{self.name}.md": self.markdown(),
            f"{self.name}.tex": self.latex(),
            f"{self.name}.csv": self.csv(),
            f"{self.name}{SUFFIX}": json.dumps(self.provenance(runs), indent=1) + "\n",
        }


def _markdown(entry: Entry) -> str:
    text = markdown(entry.text + SYMBOLS[entry.emphasis])
    return f"**{text}**" if entry.emphasis == "best" else text


def _html(entry: Entry, link: Callable[[str], str]) -> str:
    text = html.escape(entry.text + SYMBOLS[entry.emphasis])
    text = f"<strong>{text}</strong>" if entry.emphasis == "best" else text
    if not entry.values:
        return f"<td>{text}</td>"
    runs = html.escape(
        f"{entry.metric} of {pluralize(len(entry.values), 'run')}: {', '.join(entry.values)}", quote=True
    )
    return f'<td><a href="{html.escape(link(next(iter(entry.values))), quote=True)}" title="{runs}">{text}</a></td>'


def markdown(text: str) -> str:
    """Escape ``text`` for Markdown, but for what means nothing where it stands: the underscore of E_0, say."""
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", make_one_line(text))


def _latex_label(text: str) -> str:
    """Escape a row's first cell: the end of the row before would take ``[`` and ``*`` for its own."""
    return f"{{}}{latex(text)}" if text.startswith(("[", "*")) else latex(text)


def _latex(entry: Entry) -> str:
    text = "--" if entry.text == MISSING else latex(entry.text + SYMBOLS[entry.emphasis])
    return rf"\textbf{{{text}}}" if entry.emphasis == "best" else text


def _rich(entry: Entry) -> Text:
    text = make_one_line(entry.text + SYMBOLS[entry.emphasis])
    return Text(text, style="bold" if entry.emphasis == "best" else "")


def latex(text: str) -> str:
    """Escape ``text`` for LaTeX: E_0 becomes a symbol with its index, the minus of a number a minus sign."""
    pieces = re.split(r"(\bE_[\ds]|(?<![\w.)\]])-(?=\d))", make_one_line(text))
    plain = ("".join(LATEX.get(character, character) for character in piece) for piece in pieces[::2])
    special = (f"${piece}$" for piece in pieces[1::2])
    return "".join(part for pair in zip(plain, [*special, ""], strict=True) for part in pair)


def write_tables(tables: Iterable[Table], runs: Iterable[TrackedRun], folder: Place) -> list[Place]:
    """Write tables, each with where its cells come from, and return the files.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder.make_folder("--out")
    known = {run.run_id: run for run in runs}
    written = []
    for table in tables:
        for name, text in table.files(known).items():
            with (folder / name).replacing() as file:
                file.write(make_printable(text).encode())
            written.append(folder / name)
    return written
