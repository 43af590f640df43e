"""The artifacts of an SQLite store, which lie beside it, also after both were moved.

MLflow stores absolute addresses of the folders of experiments and runs. These are wrong once the store has moved.
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
"""The part of an experiment's address that :func:`get_artifacts_folder` returned when it was made."""


def get_artifacts_folder(database: Path) -> Path:
    """Return the folder with the artifacts of the store in ``database``."""
    return database.absolute().parent / FOLDER


def get_artifact_path(database: Path, run_id: str, name: str) -> Path:
    """Return the path of an artifact of a run, whether it exists or not."""
    return get_artifacts_folder(database) / run_id / "artifacts" / name


def parse_folder(address: str) -> Path | None:
    """Return the folder on this machine that an address names, or None if it names another place."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def settle_artifacts(database: Path) -> None:
    """Correct the addresses in a store that was moved together with its artifacts.

    MLflow has no function for this. Addresses that others chose stay. So do those of a store that was moved without its
    artifacts.

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
    if before.exists():  # perhaps another name of the same folder, or the original of a copy
        return here.exists() and not before.samefile(here)
    return True
