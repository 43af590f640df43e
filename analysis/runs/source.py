"""The flags that the scripts share, and where they read runs from."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from analysis.runs.run_table import RunTable, read_runs
from csg.commands.script import run_script
from csg.config.flags import read_options
from csg.messages.console import Console
from csg.tracking import get_default_tracking_uri

OptionsT = TypeVar("OptionsT")


class Main(Protocol):
    """Runs a script, and returns its exit code; see :func:`csg.commands.script.run_script`."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Take the arguments after the program's name (default: those of the process)."""


def make_main(
    kind: type[OptionsT], file: str, description: str | None
) -> Callable[[Callable[[OptionsT, Console], None]], Main]:
    """Return a decorator that makes a script of the function that does its work.

    Args:
        kind: dataclass with a field for each flag; the function takes an instance, and the console.
        file: the script's file.
        description: the first lines of ``--help``.
    """

    def decorate(work: Callable[[OptionsT, Console], None]) -> Main:
        def main(argv: Sequence[str] | None = None) -> int:
            def do_work(console: Console) -> bool:
                given = sys.argv[1:] if argv is None else argv
                work(read_options(kind, given, prog=Path(file).name, description=description), console)
                return True

            return run_script(do_work)

        return main

    return decorate


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
