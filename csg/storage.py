"""Files that are whole or absent, and folders that can be written to."""

from __future__ import annotations

import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from csg.settings import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends.

    A kill leaves the old file or the new one, never a part; several processes may write at once.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock that no two processes hold at once, and that a kill sets free.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is false.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def make_folder(path: Path, setting: str) -> Path:
    """Make a folder and see that it can be written to.

    Raises:
        ConfigError: it cannot; the message names ``setting``.
    """
    probe = path / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot write to {path} ({error.strerror}); choose another folder") from None
    return path


def check_file(path: Path, setting: str) -> None:
    """See that a file can be written, and make its folder.

    Raises:
        ConfigError: it cannot; the message names ``setting``.
    """
    make_folder(path.parent, setting)
    if path.is_dir():
        raise ConfigError(f"{setting}: expected a file to write, found a folder at {path}")


def remove_leftovers(path: Path) -> None:
    """Remove what a kill during :func:`replacing` has left; only for whoever alone writes ``path``."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def file_digest(path: str) -> str:
    """SHA-256 of a file's bytes; read again when its size or its time of change is another."""
    found = Path(path).stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, _size: int, _modified: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
