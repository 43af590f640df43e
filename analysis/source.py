"""Where scripts read runs from: the flags that all of them have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from analysis.run_table import RunTable, read_runs
from csg.tracking import default_tracking_uri


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
            ConfigError: there are none.
        """
        uri = self.tracking_uri or default_tracking_uri("runs")
        table = read_runs(experiment=self.experiment, tracking_uri=uri, exported=self.runs)
        return table.of_commit(self.commit) if self.commit else table
