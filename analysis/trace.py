"""Print where a cell of a table comes from: ``python analysis/trace.py TABLE:ROW:COLUMN --tables DIR``."""

from __future__ import annotations

import dataclasses
import difflib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from csg.parsing import config_from_flat
from csg.script import run_script
from csg.settings import ConfigError, flatten

PLACES = ("data.cache", "train.output")


@dataclasses.dataclass(frozen=True)
class TraceOptions:
    """Flags of the script."""

    cell: Annotated[str, tyro.conf.Positional]
    """TABLE:ROW:COLUMN, as the table's file is named and as its headings say."""
    tables: Path = Path("tables")
    """Folder that analysis/paper_tables.py wrote."""


def read_cell(folder: Path, cell: str) -> dict[str, Any]:
    """Return a cell's text and metric, and its ``runs`` with the value of each.

    Raises:
        ConfigError: there is no such table or cell; with the nearest.
    """
    name, _, address = cell.partition(":")
    paths = {path.name.removesuffix(".provenance.json"): path for path in folder.glob("*.provenance.json")}
    if name not in paths:
        raise ConfigError(
            f"cell: expected TABLE:ROW:COLUMN with a table of {', '.join(sorted(paths)) or 'none'} in "
            f"{folder}, found {cell!r}"
        )
    table = json.loads(paths[name].read_text())
    cells: dict[str, dict[str, Any]] = table["cells"]
    if address not in cells:
        near = difflib.get_close_matches(address, cells, n=3, cutoff=0.3) or list(cells)[:3]
        raise ConfigError(
            f"cell: {name} has no {address!r} that runs are behind; the nearest: {', '.join(map(repr, near))}"
        )
    found = cells[address]
    return found | {"runs": [{"run_id": i, "value": v, **table["runs"][i]} for i, v in found["values"].items()]}


def command_of(settings: Mapping[str, Any]) -> str:
    """Return the command that trains a run: what its settings change of the defaults."""
    method = {name: settings[name] for name in ("method.name", "method.path") if settings.get(name) is not None}
    defaults = flatten(config_from_flat(method))
    changed = {
        name: value
        for name, value in settings.items()
        if name not in PLACES and (name in method or name == "train.seed" or defaults.get(name) != value)
    }
    ordered = sorted(changed.items(), key=lambda item: item[0] not in method)  # the method's name first
    return shlex.join(["csg", "train", *(text for name, value in ordered for text in (f"--{name}", str(value)))])


def main(argv: Sequence[str] | None = None) -> int:
    """Print a cell's origin.

    Returns:
        An exit code; see :func:`~csg.script.run_script`.
    """

    def body(console: Console) -> bool:
        arguments = sys.argv[1:] if argv is None else list(argv)
        options = tyro.cli(TraceOptions, args=arguments, prog="trace.py", description=__doc__, use_underscores=True)
        found = read_cell(options.tables, options.cell)
        lines = [f"{options.cell} = {found['text']}", f"metric {found['metric']}"]
        for run in found["runs"]:
            origin = "  ".join(
                f"{name} {run[name] or 'none'}"
                for name in ("config_id", "seed", "commit", "source_digest", "data.fingerprint", "selection.protocol")
            )
            lines += [f"run {run['run_id']} ({run['name']}): {run['value']:.6g}", f"  {origin}"]
            lines.append(f"  {command_of(run['settings'])}")
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
