"""Print the runs behind a cell of a table: ``python analysis/trace.py TABLE:ROW:COLUMN --tables DIR``.

For a figure: ``python analysis/trace.py FIGURE --figures DIR``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from analysis.runs.provenance import IDENTITY, SUFFIX, write_commands
from analysis.runs.source import make_main
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.wording import pluralize


@dataclasses.dataclass(frozen=True)
class TraceOptions:
    """Flags of the script."""

    cell: Annotated[str, tyro.conf.Positional]
    """TABLE:ROW:COLUMN, by the name of the table's file and its headings; or FIGURE, by the name of its file."""
    tables: Path = Path("tables")
    """Folder that analysis/paper_tables.py wrote."""
    figures: Path = Path("figures")
    """Folder that analysis/paper_figures.py wrote."""


def read_cell(folder: Path, cell: str) -> dict[str, Any]:
    """Return a cell's text and metric, and its ``runs``, each with its value.

    Raises:
        UserError: there is no such table or cell; the message names the nearest.
    """
    name, _, address = cell.partition(":")
    table = _read(folder, name, "tables", "TABLE:ROW:COLUMN with a table of")
    cells: dict[str, dict[str, Any]] = table["cells"]
    if not cells:
        raise UserError(f"cell: no run is behind any figure of the table {name} in {folder}")
    if not address:
        raise UserError(f"cell: {name} is a table; expected a cell of it, such as {f'{name}:{next(iter(cells))}'!r}")
    if address not in cells:
        near = difflib.get_close_matches(address, cells, n=3, cutoff=0.3) or list(cells)[:3]
        raise UserError(
            f"cell: {name} has no {address!r} that runs are behind; the nearest: {', '.join(map(repr, near))}"
        )
    found = cells[address]
    return found | {"runs": [{"run_id": i, "value": v, **table["runs"][i]} for i, v in found["values"].items()]}


def read_figure(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the runs that a figure was drawn from.

    Raises:
        UserError: there is no such figure.
    """
    found = _read(folder, name, "figures", "TABLE:ROW:COLUMN, or a figure of")
    return [{"run_id": run_id, **run} for run_id, run in found["runs"].items()]


def _find_files(folder: Path) -> dict[str, Path]:
    """Return the provenance file of each table or figure in a folder, by its name; nothing if there is no folder."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _read(folder: Path, name: str, kind: Literal["tables", "figures"], wanted: str) -> dict[str, Any]:
    """Read the provenance of a table or figure. ``wanted`` is what an error says that a cell can be."""
    paths = _find_files(folder)
    if not paths:
        raise UserError(
            f"--{kind}: expected a folder that analysis/paper_{kind}.py wrote, found "
            f"{'none of its files in' if folder.is_dir() else 'no folder'} {folder}; run python "
            f"analysis/paper_{kind}.py --out {folder} first"
        )
    if name not in paths:
        raise UserError(f"cell: expected {wanted} {', '.join(paths)} in {folder}, found {name!r}")
    found: dict[str, Any] = json.loads(paths[name].read_text())
    return found


@make_main(TraceOptions, __file__, __doc__)
def main(options: TraceOptions, console: Console) -> None:
    """Print a cell's source."""
    table_alone = options.cell in _find_files(options.tables) and options.cell not in _find_files(options.figures)
    if ":" in options.cell or table_alone:
        found = read_cell(options.tables, options.cell)
        lines = [f"{options.cell} = {found['text']}", f"metric {found['metric']}"]
        runs = found["runs"]
    else:
        runs = read_figure(options.figures, options.cell)
        lines = [f"{options.cell}: drawn from {pluralize(len(runs), 'run')}"]
    for run in runs:
        value = f": {run['value']:.6g}" if "value" in run else ""
        lines.append(f"run {run['run_id']} ({run['name']}){value}")
        lines.append("  " + "  ".join(f"{name} {run[name] or 'none'}" for name in (*IDENTITY, "selection.protocol")))
        lines += [f"  {line}" for command in write_commands(run) for line in command.split("\n")]
    for line in lines:
        console.print(line)


if __name__ == "__main__":
    sys.exit(main())
