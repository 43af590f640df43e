"""The flags that the scripts share, and where they read runs from."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from analysis.runs.run_table import RunTable, read_runs
from csg.config.flags import read_options
from csg.tracking import get_default_tracking_uri

OptionsT = TypeVar("OptionsT")


def read_flags(kind: type[OptionsT], argv: Sequence[str] | None, *, script: str, description: str | None) -> OptionsT:
    """Read a script's flags; ``--help`` ends the program.

    Args:
        kind: dataclass with a field for each flag.
        argv: arguments after the program's name (default: those of the process).
        script: the script's file.
        description: the first lines of ``--help``.

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
        """Read the runs.

        Raises:
            UserError: there are none.
        """
        uri = self.tracking_uri or get_default_tracking_uri("runs")
        table = read_runs(experiment=self.experiment, tracking_uri=uri, exported=self.runs)
        return table.keep_commit(self.commit) if self.commit else table


@dataclasses.dataclass(frozen=True)
class ComparisonOptions(SourceOptions):
    """Which runs to read, and in what they may differ."""

    mix: tuple[Literal["commit", "program", "data", "protocol"], ...] = ()
    """In what the runs of one table or figure may differ; its caption then says so."""


@dataclasses.dataclass(frozen=True)
class MainOptions(ComparisonOptions):
    """Which runs to read, in what they may differ, and which ablation is the main comparison."""

    main: str = ""
    """Ablation whose cells are the main comparison of its task: a design or a key (default: rivals, else the newest
    that has a finished run)."""
