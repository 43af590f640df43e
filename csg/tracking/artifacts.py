"""Where an SQLite store's artifacts are: beside it, wherever both were moved.

MLflow writes down absolute addresses of experiments' and runs' folders, which stay behind when the store moves.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

FOLDER: Final = "mlartifacts"
ROOT: Final = re.compile(rf"(file://.*/{FOLDER})(?:/\d+)?")
"""Of an experiment's address: what :func:`get_artifacts_folder` gave at the time."""


def get_artifacts_folder(database: Path) -> Path:
    """Return the folder that holds the artifacts of the store in ``database``."""
    return database.absolute().parent / FOLDER


def get_artifact_path(database: Path, run_id: str, name: str) -> Path:
    """Return where a run's file lies, or would."""
    return get_artifacts_folder(database) / run_id / "artifacts" / name


def parse_folder(address: str) -> Path | None:
    """Return the folder on this machine that an address stands for; None for an address elsewhere."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def settle_artifacts(database: Path) -> None:
    """Let a store that was moved with its artifacts look for them, and put new ones, where it is now.

    MLflow has no call for it. Addresses that others chose stay, and those of a store that was moved alone.

    Raises:
        sqlite3.Error: the database is locked or cannot be written.
    """
    here = get_artifacts_folder(database)
    place = f"{database.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(place, uri=True, timeout=30)) as store, store:
        locations = [location for (location,) in store.execute("SELECT artifact_location FROM experiments")]
        for root in {found[1] for found in map(ROOT.fullmatch, filter(None, locations)) if found}:
            if _was_moved(parse_folder(root), here):
                for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                    store.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here.as_uri(), len(root) + 1, root, len(root) + 1, f"{root}/"),
                    )


def _was_moved(before: Path | None, here: Path) -> bool:
    if before is None or before == here:
        return False
    if before.exists():  # also under another name of the same folder, or of a copy
        return here.exists() and not before.samefile(here)
    return True
