"""Where a figure or a table's cell comes from: its runs' identity and settings, and the commands that repeat them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from csg.config.settings import find_places, flatten
from csg.messages.errors import UserError
from csg.messages.text import make_one_line, quote_for_shell
from csg.parsing import build_config
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag

SUFFIX: Final = ".provenance.json"
"""Ends the name of the file that lies beside each table and figure."""
IDENTITY: Final = (Tag.CONFIG_ID, Tag.SEED, Tag.COMMIT, Tag.PROGRAM, Tag.DATA)
"""The tags of a run that identify what was computed, by which program, on which data."""


def describe_runs(runs: Iterable[TrackedRun]) -> dict[str, dict[str, Any]]:
    """Return the name, identity, selection protocol and settings of each run, by its id.

    Of a mean over trainings without each source also the names of their runs.
    """
    return {
        run.run_id: {
            "name": run.name,
            **{name: run.tags.get(name, "") for name in IDENTITY},
            "selection.protocol": run.params.get("selection.protocol", ""),
            "settings": dict(run.params),
            **({"without": json.loads(run.tags[Tag.WITHOUT])} if Tag.WITHOUT in run.tags else {}),
        }
        for run in runs
    }


def write_commands(run: Mapping[str, Any]) -> list[str]:
    """Return the commands that train what :func:`describe_runs` describes: several of a mean over trainings."""
    if "without" not in run:
        return [write_command(run["settings"])]
    return [write_command({**run["settings"], "data.held_out": source}) for source in run["without"]]


def join_commands(run: TrackedRun) -> str:
    """Return the commands of :func:`write_commands` for a run, a line each."""
    return "\n".join(write_commands(describe_runs([run])[run.run_id]))


def write_command(settings: Mapping[str, Any]) -> str:
    """Return the command that trains a run. It holds the settings that differ from the defaults.

    If the run's method is not on this machine, the defaults are unknown. Then the command holds all settings, and a
    comment above it says so.
    """
    method = {name: settings[name] for name in ("method.name", "method.path") if settings.get(name) is not None}
    usual = build_config({})
    comment = ""
    try:
        config = build_config({**method, "data.name": str(settings.get("data.name", usual.data.name))})
        defaults = {**flatten(config), "data.name": usual.data.name}
    except UserError as error:
        reason = make_one_line(str(error))
        comment = f"# the method is not on this machine ({reason}): all settings, whatever the defaults\n"
        defaults = {}
    written = find_places(usual, "written")
    changed = {
        name: value
        for name, value in settings.items()
        if name not in written and (name in method or name == "train.seed" or defaults.get(name) != value)
    }
    ordered = sorted(changed.items(), key=lambda item: item[0] not in method)  # the method's name first
    return comment + " ".join(["csg train", *(f"--{name} {_write_value(value)}" for name, value in ordered)])


def _write_value(value: Any) -> str:
    """Write a setting's value, or each of several, as words of a command."""
    return " ".join(quote_for_shell(str(each)) for each in (value if isinstance(value, (list, tuple)) else [value]))
