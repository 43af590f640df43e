"""The SQLite file of a store: there whole, whatever cut its making short, and never lost where somebody uses it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.tracking import Tracker, TrackingError, database_file, read_experiment, store

CONNECT = "import sys; from csg.tracking import Tracker; Tracker(sys.argv[1], 'mine'); print('connected')"
BY_MLFLOW = "import sys; from mlflow import MlflowClient; print('go', flush=True); MlflowClient(sys.argv[1])"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "mlflow.db"
    database_file.make_database(path)
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(database_file, "SETTLED_SECONDS", 0.3)
    shutil.copy(whole, tmp_path / "mlflow.db")
    return tmp_path / "mlflow.db"


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


def list_names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()} - {".mlflow.db-lock", "mlartifacts"}


def connects(path: Path) -> None:
    tracker = Tracker(f"sqlite:///{path}", "mine")
    tracker.client.create_run(tracker.experiment_id)
    assert len(read_experiment(f"sqlite:///{path}", "mine")) == 1


def test_a_new_store_is_whole_before_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "mlflow.db"
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".mlflow.db.0123abcd").write_text("what a kill has left")
    connects(path)
    assert list_names(path) == {"mlflow.db"}


HALVES = {
    "no bytes": [],
    "some tables": ["DROP TABLE alembic_version", "DROP TABLE runs"],
    "no revision": ["DELETE FROM alembic_version"],
    "an older revision": ["UPDATE alembic_version SET version_num = '451aebb31d03'"],
}


@pytest.mark.parametrize("half", HALVES)
def test_what_a_kill_has_left_of_a_store_is_made_again(
    half: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if HALVES[half]:
        change(path, *HALVES[half])
    else:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"expected an MLflow store, found one at .*mlflow.db whose making was cut"):
        read_experiment(f"sqlite:///{path}", "mine")
    connects(path)
    said = capsys.readouterr().err
    if HALVES[half]:
        assert "it holds no runs and is made again (what was there: mlflow.db.half-made-1)" in said
        assert list_names(path) == {"mlflow.db", "mlflow.db.half-made-1"}
    else:
        assert list_names(path) == {"mlflow.db"}


def test_a_journal_of_another_database_does_not_reach_the_new_one(path: Path) -> None:
    change(path, "DELETE FROM alembic_version")
    aside = path.with_name("mlflow.db.half-made-1")
    aside.write_text("of an earlier kill")
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).write_bytes(b"x" * 32)
    path.with_name("mlflow.db-journal").write_bytes(b"")
    connects(path)
    assert aside.read_text() == "of an earlier kill"


def test_a_journal_without_a_database_does_not_reach_the_new_one(path: Path) -> None:
    path.unlink()
    path.with_name("mlflow.db-journal").write_bytes(b"y" * 512)
    connects(path)


USED = {
    "an older MLflow": (["UPDATE alembic_version SET version_num = '451aebb31d03'"], "mlflow db upgrade sqlite:////"),
    "a newer MLflow": (["UPDATE alembic_version SET version_num = 'ffffffffffff'"], "of a newer MLflow than"),
    "no revision": (["DELETE FROM alembic_version"], "holds rows, but not all of MLflow's tables; it stays as it is"),
    "a table less": (["DROP TABLE alembic_version", "DROP TABLE tags"], "holds rows, but not all of MLflow's tables"),
}


@pytest.mark.parametrize("used", USED)
def test_a_store_that_holds_runs_is_never_made_again(used: str, path: Path) -> None:
    tracker = Tracker(f"sqlite:///{path}", "mine")
    tracker.client.create_run(tracker.experiment_id)
    statements, message = USED[used]
    change(path, *statements)
    before = path.read_bytes()
    for use in (lambda: Tracker(f"sqlite:///{path}", "mine"), lambda: read_experiment(f"sqlite:///{path}", "mine")):
        with pytest.raises(UserError, match=message):
            use()
    assert path.read_bytes() == before


def test_another_file_is_named_and_left(path: Path) -> None:
    path.write_text("no database, " * 100)
    with pytest.raises(UserError, match=r"expected an SQLite database, found another file, or a damaged one, at .*db"):
        Tracker(f"sqlite:///{path}", "mine")
    with pytest.raises(UserError, match=r"expected the file of an SQLite store, found a folder at"):
        Tracker(f"sqlite:///{path.parent}", "mine")


def test_a_store_that_another_program_is_making_is_left_to_it(
    path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"")
    monkeypatch.setattr(database_file, "SETTLED_SECONDS", 60.0)
    monkeypatch.setattr(time, "sleep", lambda _: shutil.copy(whole, path))
    inode = path.stat().st_ino
    connects(path)
    assert path.stat().st_ino == inode


def child(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "after"),
    [(BY_MLFLOW, 0.3), (BY_MLFLOW, 0.6), (CONNECT, 0.5)],
    ids=["by MLflow, soon", "by MLflow, later", "by csg"],
)
def test_a_kill_while_the_store_is_made_costs_nothing(code: str, after: float, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    process = child(code, path)
    while not any(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    connects(path)
    assert not [name for name in list_names(path) if name.startswith(".")]


@pytest.mark.slow
def test_two_processes_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    both = [child(CONNECT, tmp_path / "mlflow.db") for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["connected", "connected"]
    assert list_names(tmp_path / "mlflow.db") == {"mlflow.db"}


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            sqlite3.OperationalError("database or disk is full"),
            OutsideFaultError,
            "disk is full.; free some space there",
        ),
        (
            TrackingError("(sqlite3.OperationalError) database is locked\n[SQL: x]"),
            OutsideFaultError,
            "database is locked",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/there/mlflow.db"),
            OutsideFaultError,
            "device: /there/mlflow",
        ),
        (OSError(errno.EACCES, "Permission denied", "/there"), UserError, "--tracking-uri: cannot reach .*denied"),
        (sqlite3.OperationalError("no such table: runs"), UserError, "--tracking-uri: .*no such table: runs"),
    ],
)
def test_a_store_that_cannot_be_opened_says_whose_fault_that_is(
    error: Exception, kind: type[Exception], said: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    for name in ("make_database", "_make_client"):
        with monkeypatch.context() as refusing:
            refusing.setattr(store, name, refuse)
            with pytest.raises(kind, match=said) as raised:
                Tracker(f"sqlite:///{path}", "mine")
        assert "\n" not in str(raised.value)
        assert isinstance(error, OSError) or str(path) in str(raised.value)


def test_a_refusal_at_the_start_is_no_outage(path: Path) -> None:
    with pytest.raises(UserError, match=r"^--tracking-uri: the MLflow store refuses what it is asked"):
        Tracker(f"sqlite:///{path}", "x" * 1000)


def test_the_revision_of_a_whole_store_is_known_without_running_list_migrations() -> None:
    from alembic.script import ScriptDirectory

    head = ScriptDirectory(str(database_file.DB_MIGRATIONS)).get_current_head()
    revisions = database_file._list_migrations()
    assert len(revisions) > 50
    assert [one for one in revisions if database_file._is_current(one)] == [head]
    assert not {"", "*"} & revisions.keys()
