"""Connecting to an MLflow store."""

from __future__ import annotations

import logging
import re
from typing import Final
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault, is_machine_fault
from csg.messages.text import get_first_line, is_utf8
from csg.storage.address import get_sqlite_path, get_sqlite_query, make_sqlite_address
from csg.storage.layout import place_at
from csg.storage.paths import resolve_user_path
from csg.tracking.artifacts import get_artifacts_folder, settle_artifacts
from csg.tracking.database_file import check_database, make_database
from csg.tracking.refusals import describe_deleted_experiment, describe_refusal

TrackingError = MlflowException
"""Error of a store that is unreachable, or refuses."""
DELETED = "deleted"
"""Stage of a deleted experiment or run, which MLflow keeps and hides."""
OUTSIDE: Final = {
    "database or disk is full": "free some space there",
    "database is locked": "end what holds it for long, or try again",
    "disk I/O error": "mend that",
}
"""SQLite's messages about a file that it cannot use at the moment, and what to do."""


DATABRICKS: Final = "databricks"
SCHEMES: Final = ("http", "https", "postgresql", "mysql", "mssql", DATABRICKS)
"""Of the addresses of stores, beside SQLite's."""
EXPECTED: Final = (
    "the address of an MLflow server (http://HOST:PORT) or of a database (sqlite:///FILE.db, postgresql://...)"
)
"""What names a store."""


def get_default_tracking_uri(output: str) -> str:
    """Return the absolute address of the SQLite store below an output folder.

    Results in a bucket have their store on this machine. The same command on another machine fills another one.
    """
    return make_sqlite_address(place_at(output).local / "mlflow.db")


def resolve_uri(uri: str) -> str:
    """Make the address of an SQLite store absolute. The path of an SQLite file is accepted as an address.

    Raises:
        UserError: the address is not UTF-8, which MLflow requires, or of no store that keeps runs.
    """
    is_file = "://" not in uri and uri.endswith((".db", ".sqlite", ".sqlite3"))
    path = resolve_user_path(uri, "--tracking-uri") if is_file else get_sqlite_path(uri)
    if not is_utf8(uri if path is None else str(path.absolute())):
        raise UserError(f"--tracking-uri: expected an address in UTF-8, found {uri!r}; name another store")
    if path is None and not is_file:
        _check_address(uri)
    elif path is not None and (path.name == ":memory:" or "uri=" in get_sqlite_query(uri)):
        raise UserError(f"--tracking-uri: expected {EXPECTED}, found {uri!r}, which keeps nothing in that file")
    return uri if path is None else make_sqlite_address(path) + get_sqlite_query(uri)


def _check_address(uri: str) -> None:
    """Refuse the address of something that MLflow would take for a folder, or that is no address.

    Raises:
        UserError: says what was expected.
    """
    try:
        address = urlsplit(uri)
        known = uri == DATABRICKS or (address.scheme.partition("+")[0] in SCHEMES and bool(address.netloc))
        address.port  # noqa: B018 (raises)
    except ValueError:
        known = False
    if not known:
        raise UserError(f"--tracking-uri: expected {EXPECTED}, found {hide_password(uri)!r}")


def hide_password(uri: str) -> str:
    """Return an address without the password in it."""
    return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1:***@", uri)


def reach(uri: str) -> MlflowClient:
    """Connect to a store for reading.

    Raises:
        UserError: there is no store at ``uri``, or it does not answer.
        OutsideFaultError: see :func:`connect`.
    """
    path = get_sqlite_path(uri)
    if path is not None:
        if not path.exists():
            raise UserError(
                f"--tracking-uri: expected an MLflow store, found nothing at {path}; run a search or an ablation "
                "first, or name the store"
            )
        check_database(path)
    try:
        return _make_client(uri)
    except MemoryError:
        raise
    except Exception as error:  # SQLAlchemy's errors have no base that MLflow exports
        raise _explain(error, uri, asked=False) from error


def _silence_mlflow() -> None:
    """Hide MLflow's messages about the tables that it makes."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _make_client(uri: str) -> MlflowClient:
    _silence_mlflow()
    mlflow.set_tracking_uri(uri)
    return MlflowClient(uri)


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Connect to a store, and find or make an experiment in it.

    Args:
        uri: absolute, see :func:`resolve_uri`.
        experiment: its name. An SQLite file has its artifacts beside it, any other store where it wants.

    Returns:
        A client, and the experiment's id.

    Raises:
        UserError: the store cannot be reached or written to.
        OutsideFaultError: the disk of an SQLite store is full, another process holds its file, or the like.
    """
    client: MlflowClient | None = None
    try:
        path = get_sqlite_path(uri)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _silence_mlflow()
            make_database(path)
            settle_artifacts(path)
        client = _make_client(uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage == DELETED:
            raise UserError(describe_deleted_experiment(experiment, found.experiment_id, uri))
        if found is not None:
            return client, found.experiment_id
        # Left alone, MLflow would put an SQLite file's artifacts below the working directory.
        place = None if path is None else get_artifacts_folder(path).as_uri()
        # Without its kind, MLflow's page opens with the view for language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return client, client.create_experiment(experiment, artifact_location=place, tags=tags)
        except MlflowException:  # another process may just have made it
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise
            return client, found.experiment_id
    except (UserError, MemoryError):
        raise
    except Exception as error:  # SQLAlchemy's errors have no base that MLflow exports
        raise _explain(error, uri, asked=client is not None) from error


def _explain(error: Exception, uri: str, *, asked: bool) -> Exception:
    """Return the error to raise for a store that cannot be opened.

    Args:
        error: error of MLflow or of its database.
        uri: address of the store.
        asked: whether the store was reached, and may have refused a request.
    """
    reason = get_first_line(str(error)) or type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        reason = f"it takes the package {error.name}, which is not installed"
    uri = hide_password(uri)
    fault = find_outside_fault(error) if is_machine_fault(error) else None
    if fault is not None:
        return fault
    for words, remedy in OUTSIDE.items():
        if words in str(error):
            return OutsideFaultError(f"the MLflow store {uri} cannot be used ({words}); {remedy}")
    refusal = describe_refusal(error) if asked and isinstance(error, MlflowException) else ""
    if refusal:
        return UserError(f"--tracking-uri: {refusal}")
    return UserError(f"--tracking-uri: cannot reach the MLflow store {uri} ({reason})")
