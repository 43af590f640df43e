"""Write the paper's tables: ``python analysis/paper_tables.py --experiment glyphs --out DIR``.

Each table comes as Markdown, LaTeX (booktabs) and CSV, with a file beside it that says which runs each cell was
computed from (``python analysis/trace.py CELL --tables DIR`` prints it).
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from analysis.runs.source import MainOptions, make_main
from analysis.tables.paper import make_tables
from analysis.tables.table import write_tables
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.storage.disk import DiskPlace


@dataclasses.dataclass(frozen=True)
class TableOptions(MainOptions):
    """Flags of the script."""

    out: Path = Path("tables")
    """Folder to write to."""
    against: str = ""
    """Cell that all others of its ablations are compared with, instead of what their designs say."""


@make_main(TableOptions, __file__, __doc__)
def main(options: TableOptions, console: Console) -> None:
    """Write the tables.

    Raises:
        UserError: a table cannot be made; the others are written.
    """
    table = options.read()
    made, refused = make_tables(table, main=options.main, against=options.against, mix=options.mix)
    write_tables(made, table.runs, DiskPlace(options.out))
    for each in made:
        console.print(f"{options.out / each.name}.md")
    if refused:
        raise UserError("these tables were not made:\n" + "\n".join(f"  {line}" for line in refused))
    if not made:
        raise UserError("no table can be made: no run has finished; run a search or an ablation first")


if __name__ == "__main__":
    sys.exit(main())
