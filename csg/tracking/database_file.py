"""The SQLite file of a store, which is whole or does not exist.

MLflow makes its tables one by one in the file, which takes seconds, and never completes a file that a kill has left.
Here the tables are made in memory, and the file is put in its place when it has all of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import mlflow

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.storage.address import make_sqlite_address
from csg.storage.files import find_leftovers, hold_lock, make_temporary_path
from csg.tracking.artifacts import get_artifacts_folder

COMPANIONS: Final = ("-journal", "-wal", "-shm")
"""Suffixes of the files that SQLite keeps beside a database. They would damage another database of that name."""
USER_ROWS: Final = {"alembic_version": "0", "workspaces": "0", "experiments": "name <> 'Default'"}
"""Condition for rows of a user, for each table in which MLflow itself makes rows."""
DB_MIGRATIONS: Final = Path(mlflow.__file__).parent / "store" / "db_migrations"
"""Folder with the history of MLflow's schema."""
SETTLED_SECONDS: Final = 5.0
"""Seconds without a change after which a half-made file counts as abandoned."""


def make_database(path: Path) -> None:
    """Make a whole database of this MLflow at ``path``, unless there is one.

    A half-made file is renamed, and its new name is printed. A file with rows of a user stays.

    Raises:
        UserError: the file is no such database, or one in use by another MLflow version.
        OSError: the file cannot be written.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"--tracking-uri: expected the file of an SQLite store, found a folder at {path}")
    if _is_whole(path):
        return
    with hold_lock(path.with_name(f".{path.name}-lock"), wait=True):
        for left in find_leftovers(path):
            left.unlink()
        if _is_whole(path) or (path.exists() and not _is_left_alone(path)):
            return
        _keep_aside(path)
        _put_new(path)


def check_database(path: Path) -> None:
    """Refuse a database that is to be read and is not whole.

    Raises:
        UserError: the database is not whole, or of another MLflow version.
    """
    if not _is_whole(path):
        raise UserError(
            f"--tracking-uri: expected an MLflow store, found one at {path} whose making was cut short; it holds no "
            "runs, and csg train, a search or an ablation makes it again"
        )


def _is_whole(path: Path) -> bool:
    """Whether all tables exist. They do not if the file is missing or half made.

    Raises:
        UserError: see :func:`make_database`.
    """
    if not path.exists():
        return False
    try:
        revision, used = _read_contents(path)
    except sqlite3.OperationalError:
        return True  # such as a locked file: MLflow waits, or raises its own error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"--tracking-uri: expected an SQLite database, found another file, or a damaged one, at {path} ({error}); "
            "name another store, or move the file away"
        ) from None
    if revision is not None and _is_current(revision):
        return True
    address = make_sqlite_address(path)
    if revision is not None and revision not in _list_migrations():
        raise UserError(
            f"--tracking-uri: the tables in {path} are of a newer MLflow than {mlflow.__version__}, or of another "
            f"program (revision {revision}); upgrade mlflow, or name another store"
        )
    if used and revision is not None:
        raise UserError(
            f"--tracking-uri: the tables in {path} are of an older MLflow than {mlflow.__version__} (revision "
            f"{revision}); make a copy of the file, then: mlflow db upgrade {address}"
        )
    if used:
        raise UserError(
            f"--tracking-uri: expected an MLflow store, found a database at {path} that holds rows, but not all of "
            "MLflow's tables; it stays as it is: name another store, or put a whole copy in its place"
        )
    return False


def _read_contents(path: Path) -> tuple[str | None, bool]:
    """Return the revision of a database's schema, None where there is none, and whether it has rows of a user."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as database:
        found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        tables = [name for (name,) in found]
        revision = None
        if "alembic_version" in tables:
            (revision,) = database.execute("SELECT max(version_num) FROM alembic_version").fetchone()
        if revision is not None and _is_current(revision):
            return revision, True
        return revision, any(_has_rows(database, table) for table in tables)


def _has_rows(database: sqlite3.Connection, table: str) -> bool:
    quoted = table.replace('"', '""')
    query = f'SELECT 1 FROM "{quoted}" WHERE {USER_ROWS.get(table, "1")} LIMIT 1'  # noqa: S608
    return database.execute(query).fetchone() is not None


@lru_cache(maxsize=8)
def _is_current(revision: str) -> bool:
    """Whether a revision is the last one of the installed MLflow: one of its migrations that no other follows.

    The text of the migrations shows that. Alembic would run all of them, which takes most of a second.
    """
    followed = re.compile(f"^down_revision\\b.*[\"']{re.escape(revision)}[\"']", re.MULTILINE)
    files = _list_migrations()
    return revision in files and not any(followed.search(path.read_text("utf-8")) for path in files.values())


def _list_migrations() -> dict[str, Path]:
    """Return the file of each migration by its revision."""
    return {path.stem.partition("_")[0]: path for path in (DB_MIGRATIONS / "versions").glob("[0-9a-f]*_*.py")}


def _is_left_alone(path: Path) -> bool:
    """Wait until a half-made database is whole or seems abandoned. Return whether it is abandoned."""
    seen, since = _read_stamps(path), time.monotonic()
    while time.time() - max((modified for _, modified in seen), default=0.0) < SETTLED_SECONDS:
        time.sleep(0.2)
        if _is_whole(path):
            return False
        now = _read_stamps(path)
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > SETTLED_SECONDS:  # also if the clock of the disk is ahead of this machine's
            break
    return True


def _read_stamps(path: Path) -> list[tuple[int, float]]:
    return [(found.st_size, found.st_mtime) for found in (each.stat() for each in _list_files(path))]


def _list_files(path: Path) -> Iterator[Path]:
    for end in ("", *COMPANIONS):
        each = path.with_name(path.name + end)
        if each.exists():
            yield each


def _keep_aside(path: Path) -> None:
    """Rename a half-made file and its companions."""
    files = list(_list_files(path))
    if not any(each.stat().st_size for each in files):
        for each in files:
            each.unlink()
        return
    number = 1
    while any(_list_files(aside := path.with_name(f"{path.name}.half-made-{number}"))):
        number += 1
    for each in files:
        each.rename(aside.with_name(aside.name + each.name.removeprefix(path.name)))
    Console(stderr=True).print(
        f"The making of the MLflow store {path} was cut short; it holds no runs and is made again (what was there: "
        f"{aside.name})"
    )


def _put_new(path: Path) -> None:
    """Make a database with MLflow's tables, which is whole when it appears at ``path``."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore("sqlite:///:memory:", get_artifacts_folder(path).as_uri())  # type: ignore[no-untyped-call]
    temporary = make_temporary_path(path)
    try:
        with (
            contextlib.closing(store.engine.raw_connection()) as made,
            contextlib.closing(sqlite3.connect(temporary)) as file,
        ):
            assert isinstance(made.driver_connection, sqlite3.Connection)
            file.execute("PRAGMA journal_mode = OFF")  # nothing to roll back to, and no journal for a kill to leave
            made.driver_connection.backup(file)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
