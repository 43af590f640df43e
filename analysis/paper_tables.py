"""Write the paper's tables: ``python analysis/paper_tables.py --experiment glyphs --out DIR``.

Each table comes as Markdown, LaTeX (booktabs) and CSV, with a file beside it that says which runs each cell was
computed from (``python analysis/trace.py CELL --tables DIR`` prints it).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.runs.source import MainOptions, read_flags
from analysis.tables.paper import make_tables
from analysis.tables.table import write_tables
from csg.commands.script import run_script
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.storage.disk import DiskPlace


@dataclasses.dataclass(frozen=True)
class TableOptions(MainOptions):
    """Flags of the script."""

    out: Path = Path("tables")
    """Folder to write to."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`. 2 also if a table cannot be made; the others are
        written.
    """

    def body(console: Console) -> bool:
        options = read_flags(TableOptions, argv, script=__file__, description=__doc__)
        table = options.read()
        made, refused = make_tables(table, main=options.main, mix=options.mix)
        write_tables(made, table.runs, DiskPlace(options.out))
        for each in made:
            console.print(f"{options.out / each.name}.md")
        if refused:
            raise UserError("these tables were not made:\n" + "\n".join(f"  {line}" for line in refused))
        if not made:
            raise UserError("no table can be made: no run has finished; run a search or an ablation first")
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
