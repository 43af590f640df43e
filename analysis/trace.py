"""Print where a cell of a table or a figure comes from: ``python analysis/trace.py TABLE:ROW:COLUMN --tables DIR``.

For a figure: ``python analysis/trace.py FIGURE --figures DIR``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from analysis.runs.provenance import IDENTITY, SUFFIX
from analysis.runs.source import options_of
from csg.commands.script import run_script
from csg.config.settings import find_places, flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_one_line, quote_for_shell
from csg.messages.wording import pluralize
from csg.parsing import config_from_flat


@dataclasses.dataclass(frozen=True)
class TraceOptions:
    """Flags of the script."""

    cell: Annotated[str, tyro.conf.Positional]
    """TABLE:ROW:COLUMN, as the table's file is named and as its headings say; or FIGURE, as its file is named."""
    tables: Path = Path("tables")
    """Folder that analysis/paper_tables.py wrote."""
    figures: Path = Path("figures")
    """Folder that analysis/paper_figures.py wrote."""


def read_cell(folder: Path, cell: str) -> dict[str, Any]:
    """Return a cell's text and metric, and its ``runs`` with the value of each.

    Raises:
        UserError: there is no such table or cell; with the nearest.
    """
    name, _, address = cell.partition(":")
    table = _read(folder, name, _Origin("--tables", "paper_tables.py", "TABLE:ROW:COLUMN with a table of"))
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
    found = _read(folder, name, _Origin("--figures", "paper_figures.py", "TABLE:ROW:COLUMN, or a figure of"))
    return [{"run_id": run_id, **run} for run_id, run in found["runs"].items()]


@dataclasses.dataclass(frozen=True)
class _Origin:
    """What an error says of a folder that tables or figures are read from."""

    flag: str
    """Names the folder."""
    script: str
    """Writes it."""
    wanted: str
    """What ``cell`` can be; the names there are follow."""


def _names(folder: Path) -> dict[str, Path]:
    """Return what lies beside each table or figure of a folder, by its name; nothing where there is no folder."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _read(folder: Path, name: str, origin: _Origin) -> dict[str, Any]:
    """Read what lies beside a table or figure."""
    paths = _names(folder)
    if not paths:
        raise UserError(
            f"{origin.flag}: expected a folder that analysis/{origin.script} wrote, found "
            f"{'none of its files in' if folder.is_dir() else 'no folder'} {folder}; run python "
            f"analysis/{origin.script} --out {folder} first"
        )
    if name not in paths:
        raise UserError(f"cell: expected {origin.wanted} {', '.join(paths)} in {folder}, found {name!r}")
    found: dict[str, Any] = json.loads(paths[name].read_text())
    return found


def command_of(settings: Mapping[str, Any]) -> str:
    """Return the command that trains a run: what its settings change of the defaults.

    Where its method is not on this machine, as the file of somebody's own need not be, nobody knows the defaults: all
    settings are in the command, below a line that says so.
    """
    method = {name: settings[name] for name in ("method.name", "method.path") if settings.get(name) is not None}
    usual = config_from_flat({})
    said = ""
    try:
        config = config_from_flat({**method, "data.name": str(settings.get("data.name", usual.data.name))})
        defaults = {**flatten(config), "data.name": usual.data.name}
    except UserError as error:
        said = (
            f"# the method is not on this machine ({make_one_line(str(error))}): all settings, whatever the defaults\n"
        )
        defaults = {}
    written = find_places(usual, "written")
    changed = {
        name: value
        for name, value in settings.items()
        if name not in written and (name in method or name == "train.seed" or defaults.get(name) != value)
    }
    ordered = sorted(changed.items(), key=lambda item: item[0] not in method)  # the method's name first
    return said + " ".join(["csg train", *(f"--{name} {quote_for_shell(str(value))}" for name, value in ordered)])


def main(argv: Sequence[str] | None = None) -> int:
    """Print a cell's origin.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`.
    """

    def body(console: Console) -> bool:
        options = options_of(TraceOptions, argv, script=__file__, description=__doc__)
        table_alone = options.cell in _names(options.tables) and options.cell not in _names(options.figures)
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
            lines.append(
                "  " + "  ".join(f"{name} {run[name] or 'none'}" for name in (*IDENTITY, "selection.protocol"))
            )
            lines += [f"  {line}" for line in command_of(run["settings"]).split("\n")]
        for line in lines:
            console.print(line)
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
