"""What the scripts begin with: their flags, and where they read runs from."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from analysis.runs.run_table import RunTable, read_runs
from csg.config.flags import read_options
from csg.tracking import get_default_tracking_uri

Options = TypeVar("Options")


def options_of(kind: type[Options], argv: Sequence[str] | None, *, script: str, description: str | None) -> Options:
    """Read a script's flags; ``--help`` ends the program.

    Args:
        kind: dataclass with a field for each flag.
        argv: arguments after the program's name (default: those of the process).
        script: the script's file.
        description: what ``--help`` begins with.

    Raises:
        UserError: see :func:`csg.config.flags.read_options`.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    return read_options(kind, arguments, prog=Path(script).name, description=description)


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """Which runs to read."""

    experiment: str = "glyphs"
    """MLflow experiment."""
    tracking_uri: str = ""
    """MLflow store or server (default: the SQLite file below runs/)."""
    runs: Path | None = None
    """Folder that analysis/export_runs.py wrote, to be read instead of a store."""
    commit: str = ""
    """Only runs whose commit starts so."""

    def read(self) -> RunTable:
        """Read them.

        Raises:
            UserError: there are none.
        """
        uri = self.tracking_uri or get_default_tracking_uri("runs")
        table = read_runs(experiment=self.experiment, tracking_uri=uri, exported=self.runs)
        return table.of_commit(self.commit) if self.commit else table
