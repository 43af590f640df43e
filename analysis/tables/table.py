"""A table with a caption, in the formats that readers want, and where each of its cells comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd
from rich.table import Table as RichTable
from rich.text import Text

from analysis.latex import escape_latex, make_label
from analysis.runs.provenance import SUFFIX, describe_runs
from csg.messages.text import make_one_line, make_printable
from csg.storage.place import Place
from csg.tracking import TrackedRun

MISSING: Final = "-"
Emphasis = Literal["", "best", "not distinguishable"]
SYMBOLS: Final[dict[Emphasis, str]] = {"": "", "best": "", "not distinguishable": "†"}
COLUMNS_OF_A_PAGE: Final = 6
"""Wider tables are shrunk to the width of the text."""
MARKDOWN: Final = re.compile(r"[|`*\\]|(?<!\w)_|_(?!\w)|~(?=~)|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[])")
"""The beginning or end of a mark in Markdown, or in the HTML within it."""


@dataclass(frozen=True)
class Entry:
    """One cell's text, and what it was computed from."""

    text: str
    emphasis: Emphasis = ""
    metric: str = ""
    """The metric's name in the tracking store; empty for a text that no metric is behind."""
    values: Mapping[str, float] | None = None
    """The metric's value by run id, which the text sums up."""

    @property
    def marked(self) -> str:
        """The text with its mark, for formats that have no emphasis for it."""
        return self.text + SYMBOLS[self.emphasis]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of entries with its title and caption."""

    name: str
    """The stem of its files; unique among the tables of a folder."""
    title: str
    cells: pd.DataFrame
    """An :class:`Entry` for each row's label and column's heading; the columns' name is the heading of the labels."""
    caption: str
    """What the figures are, over what, and under which protocol."""

    @property
    def headings(self) -> list[str]:
        """The headings, that of the labels first."""
        return [str(self.cells.columns.name), *self.cells.columns]

    def to_frame(self) -> pd.DataFrame:
        """Return the texts, without marks."""
        return self._write(lambda entry: make_printable(entry.text))

    def to_csv(self) -> str:
        """Return the table as comma-separated values, without marks."""
        return self.to_frame().to_csv(index_label=self.headings[0], lineterminator="\n")

    def to_markdown(self) -> str:
        """Return the table for Markdown: the best in bold, and a dagger at what does not differ from it."""
        cells = self._write(_write_markdown, escape_markdown)
        rows = [[cells.columns.name, *cells.columns], ["---", *["---:"] * cells.shape[1]], *cells.itertuples()]
        lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return f"**{escape_markdown(self.title)}**\n\n{lines}\n\n{escape_markdown(self.caption)}\n"

    def to_latex(self) -> str:
        """Return the table as a float for LaTeX, to be set with booktabs (and graphicx, if it is wide)."""
        cells = self._write(_write_latex, escape_latex).rename(index=_protect_label)
        text = cells.style.to_latex(
            column_format="l" + "r" * cells.shape[1],
            position_float="centering",
            hrules=True,
            caption=f"{escape_latex(self.title)}. {escape_latex(self.caption)}",
            label=f"tab:{make_label(self.name)}",
        )
        if cells.shape[1] < COLUMNS_OF_A_PAGE:
            return text
        text = text.replace(r"\begin{tabular}", r"\resizebox{\textwidth}{!}{%" + "\n" + r"\begin{tabular}")
        return text.replace(r"\end{tabular}", r"\end{tabular}}")

    def to_rich(self) -> RichTable:
        """Return the table for a console."""
        table = RichTable(title=Text(make_printable(self.title), style="table.title"))
        for index, column in enumerate(self.headings):
            table.add_column(Text(make_one_line(column)), justify="left" if index == 0 else "right", no_wrap=True)
        for label, *entries in self.cells.itertuples():
            table.add_row(Text(make_one_line(label)), *map(_write_rich, entries))
        return table

    def _write(self, write: Callable[[Entry], str], escape: Callable[[str], str] = str) -> pd.DataFrame:
        """Return the cells as texts, with labels and headings escaped."""
        texts = self.cells.map(write).rename(index=escape, columns=escape)
        return texts.rename_axis(columns=escape(self.headings[0]))

    def collect_provenance(self, runs: Mapping[str, TrackedRun]) -> dict[str, Any]:
        """Return the values behind each cell, by run id, and the identity and settings of each run.

        Args:
            runs: by run id.
        """
        cells = {
            f"{label}:{heading}": {"text": entry.text, "metric": entry.metric, "values": dict(entry.values)}
            for label, *entries in self.cells.itertuples()
            for heading, entry in zip(self.headings[1:], entries, strict=True)
            if entry.values
        }
        behind = dict.fromkeys(run_id for cell in cells.values() for run_id in cell["values"])
        sources = describe_runs(runs[run_id] for run_id in behind)
        return {"table": self.name, "title": self.title, "cells": cells, "runs": sources}

    def render_files(self, runs: Mapping[str, TrackedRun]) -> dict[str, str]:
        """Return the text of each of the table's files, by name."""
        return {
            f"{self.name}.md": self.to_markdown(),
            f"{self.name}.tex": self.to_latex(),
            f"{self.name}.csv": self.to_csv(),
            f"{self.name}{SUFFIX}": json.dumps(self.collect_provenance(runs), indent=1) + "\n",
        }


def arrange_cells(headings: Sequence[str], rows: Mapping[str, Sequence[Entry]]) -> pd.DataFrame:
    """Return the cells of a table.

    Args:
        headings: of the labels, and of each column.
        rows: the entries of each row, by its label.
    """
    first, *others = map(make_printable, headings)
    named = {make_printable(label): entries for label, entries in rows.items()}
    return pd.DataFrame.from_dict(named, orient="index", columns=others, dtype=object).rename_axis(columns=first)


def escape_markdown(text: str) -> str:
    """Escape ``text`` for Markdown, except for characters that have no meaning where they stand, as in E_0."""
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", make_one_line(text))


def _protect_label(text: str) -> str:
    """Protect a row's label, because the end of the row before would read ``[`` and ``*`` as its own options."""
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def _write_markdown(entry: Entry) -> str:
    text = escape_markdown(entry.marked)
    return f"**{text}**" if entry.emphasis == "best" else text


def _write_latex(entry: Entry) -> str:
    text = "--" if entry.text == MISSING else escape_latex(entry.marked)
    return rf"\textbf{{{text}}}" if entry.emphasis == "best" else text


def _write_rich(entry: Entry) -> Text:
    return Text(make_one_line(entry.marked), style="bold" if entry.emphasis == "best" else "")


def write_tables(tables: Iterable[Table], runs: Iterable[TrackedRun], folder: Place) -> list[Place]:
    """Write tables, each with the runs behind its cells, and return the files.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder.make_folder("--out")
    known = {run.run_id: run for run in runs}
    written = []
    for table in tables:
        for name, text in table.render_files(known).items():
            (folder / name).write(text.encode())
            written.append(folder / name)
    return written
