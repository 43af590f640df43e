"""Write an experiment's runs to a folder: ``python analysis/export_runs.py --experiment glyphs --out DIR``.

The other scripts read it with ``--runs DIR``: tables can be made again where the store is not.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis.run_table import export_runs
from analysis.source import SourceOptions, options_of
from csg.script import run_script


@dataclasses.dataclass(frozen=True)
class ExportOptions(SourceOptions):
    """Flags of the script."""

    out: Path = Path("exported")
    """Folder to write to."""
    features: bool = False
    """Write features too, which the figures of their density need."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export runs.

    Returns:
        An exit code; see :func:`~csg.script.run_script`.
    """

    def body(console: Console) -> bool:
        options = options_of(ExportOptions, argv, script=__file__, description=__doc__)
        table = options.read()
        path = export_runs(table, options.out, features=options.features)
        console.print(f"{len(table.runs):,} runs: {path}", highlight=False, soft_wrap=True)
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
