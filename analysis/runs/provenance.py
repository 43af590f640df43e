"""Where a figure or a table's cell comes from: the identity and the settings of the runs behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from csg.tracking import TrackedRun
from csg.tracking.tags import COMMIT_TAG, CONFIG_ID_TAG, DATA_TAG, PROGRAM_TAG, SEED_TAG

SUFFIX: Final = ".provenance.json"
"""Of the file that lies beside a table's or a figure's own."""
IDENTITY: Final = (CONFIG_ID_TAG, SEED_TAG, COMMIT_TAG, PROGRAM_TAG, DATA_TAG)
"""Tags of a run that say what was computed, by which program, on which data."""


def origin(run: TrackedRun) -> dict[str, Any]:
    """Return a run's name, identity, selection protocol and settings."""
    protocol = run.params.get("selection.protocol", "")
    tags = {name: run.tags.get(name, "") for name in IDENTITY}
    return {"name": run.name, **tags, "selection.protocol": protocol, "settings": dict(run.params)}


def origins(runs: Iterable[TrackedRun]) -> dict[str, dict[str, Any]]:
    """Return the origin of each run, by its id."""
    return {run.run_id: origin(run) for run in runs}
