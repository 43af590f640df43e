"""Where runs are kept: an MLflow store, reached quietly and refused clearly."""

from __future__ import annotations

import logging
from typing import Final

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault, is_machine_fault
from csg.messages.text import get_first_line, is_utf8
from csg.storage.address import sqlite_address, sqlite_path, sqlite_query
from csg.storage.object_store import folder_of
from csg.storage.paths import user_path
from csg.tracking.artifacts import get_artifacts_folder, settle_artifacts
from csg.tracking.database_file import check_database, make_database
from csg.tracking.refusals import describe_deleted_experiment, describe_refusal

StoreError = MlflowException
"""What a store that is away, or refuses, raises."""
DELETED = "deleted"
"""Stage of an experiment or a run that MLflow keeps, but does not show."""
OUTSIDE: Final = {
    "database or disk is full": "free some space there",
    "database is locked": "end what holds it for long, or try again",
    "disk I/O error": "mend that",
}
"""What SQLite says of a file that it cannot use at the moment, whatever is in it, and what to do."""


def get_default_tracking_uri(output: str) -> str:
    """Return the SQLite store below a run's output folder, as an absolute address.

    An object store has it in its working folder on this machine; the same command on another one fills another one in.
    """
    return sqlite_address(folder_of(output) / "mlflow.db")


def resolve_uri(uri: str) -> str:
    """Resolve the path of an SQLite store against the working directory; a path to such a file is one too.

    Raises:
        UserError: bytes that are no UTF-8, which MLflow does not take.
    """
    path = user_path(uri, "--tracking-uri") if is_sqlite_file(uri) else sqlite_path(uri)
    if not is_utf8(uri if path is None else str(path.absolute())):
        raise UserError(f"--tracking-uri: expected an address in UTF-8, found {uri!r}; name another store")
    return uri if path is None else sqlite_address(path) + sqlite_query(uri)


def is_sqlite_file(uri: str) -> bool:
    """Whether a store is given as the path of an SQLite file, where an address is expected."""
    return "://" not in uri and uri.endswith((".db", ".sqlite", ".sqlite3"))


def reach(uri: str) -> MlflowClient:
    """Reach a store that is only read.

    Raises:
        UserError: there is none at ``uri``, or it does not answer.
        OutsideFaultError: see :func:`connect`.
    """
    path = sqlite_path(uri)
    if path is not None:
        if not path.exists():
            raise UserError(
                f"--tracking-uri: expected an MLflow store, found nothing at {path}; run a search or an ablation "
                "first, or name the store"
            )
        check_database(path)
    try:
        return _client(uri)
    except MemoryError:
        raise
    except Exception as error:  # SQLAlchemy's errors have no base that MLflow exports
        raise _explained(error, uri, asked=False) from error


def _hush() -> None:
    """Keep MLflow from telling of each table that it makes."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _client(uri: str) -> MlflowClient:
    _hush()
    mlflow.set_tracking_uri(uri)
    return MlflowClient(uri)


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Reach a store and find an experiment in it, or make it.

    Args:
        uri: absolute, see :func:`resolve_uri`.
        experiment: its name. An SQLite file has its artifacts beside it, any other store where it wants.

    Returns:
        A client, and the experiment's id.

    Raises:
        UserError: the store cannot be reached or written to.
        OutsideFaultError: the disk of a store in a file is full, another process holds the file, or the like.
    """
    client: MlflowClient | None = None
    try:
        path = sqlite_path(uri)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _hush()
            make_database(path)
            settle_artifacts(path)
        client = _client(uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage == DELETED:
            raise UserError(describe_deleted_experiment(experiment, found.experiment_id, uri))
        if found is not None:
            return client, found.experiment_id
        # Left alone, MLflow would put an SQLite file's artifacts below the working directory.
        place = None if path is None else get_artifacts_folder(path).as_uri()
        # Without its kind, MLflow's page first shows what is for language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return client, client.create_experiment(experiment, artifact_location=place, tags=tags)
        except MlflowException:  # another process may have made it at this moment
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise
            return client, found.experiment_id
    except (UserError, MemoryError):
        raise
    except Exception as error:  # SQLAlchemy's errors have no base that MLflow exports
        raise _explained(error, uri, asked=client is not None) from error


def _explained(error: Exception, uri: str, *, asked: bool) -> Exception:
    """Return what to raise where a store cannot be opened: whose fault that is, and what to do.

    Args:
        error: what came up.
        uri: of the store.
        asked: whether something was asked of it, which it may refuse.
    """
    reason = get_first_line(str(error)) or type(error).__name__
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
