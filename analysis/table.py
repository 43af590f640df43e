"""A table with a caption, in the formats that readers want."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """Text, row by row; what is missing is shown as missing."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    """What the figures are, over what, and under which protocol."""

    def markdown(self) -> str:
        """Return the table for Markdown."""
        lines = [self.columns, tuple("---" if index == 0 else "---:" for index in range(len(self.columns))), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"**{self.title}**\n\n{body}\n\n{self.caption}\n"

    def csv(self) -> str:
        """Return the table as comma-separated values."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    def rich(self) -> RichTable:
        """Return the table for a console."""
        table = RichTable(title=self.title)
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table
