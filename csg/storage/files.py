"""Files on disk that are whole or absent, folders that can be written to, locks, and digests of files."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import io
import os
import re
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from csg.messages.errors import UserError
from csg.messages.faults import is_shortage

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BLOCK = 1 << 20
"""Bytes of a file that are read at once where all of them would be too many."""
LEFTOVER_SECONDS: Final = 3600.0
"""How long nobody has written to what another process's broken writing left, when it is removed."""

TEMPORARY: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}", re.DOTALL)
"""Names by :func:`make_temporary_path`."""


@contextmanager
def open_replacement(path: Path, *, put: Callable[[Path], None] | None = None, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends, or that is handed to ``put``.

    A kill leaves the old file or the new one, never a part; several processes may write at once. What kills left
    before this process first wrote to the folder is removed when it is so old that nobody is at it any more. Without
    ``sync`` nobody waits until the file is on the disk: after a power failure it may be damaged, as its reader must
    notice.

    Raises:
        OSError: it cannot be written, as on a full disk; also where a library, which wrote to the file, raised an error
            of its own for that. It names ``path``.
    """
    for left in _list_at_first(path.parent.absolute()).get(path.name, ()):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFTOVER_SECONDS:
                left.unlink()
    temporary = make_temporary_path(path)
    try:
        with name_file_in_errors(path), _Written(temporary) as raw:
            try:
                file = io.BufferedWriter(raw)
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            except Exception as error:
                if raw.fault is None or raw.fault is error:
                    raise
                raise raw.fault from error
        temporary.replace(path) if put is None else put(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def make_temporary_path(path: Path) -> Path:
    """Return a new name beside ``path``, for a file that is to take its place."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def find_leftovers(path: Path) -> list[Path]:
    """List the files beside ``path`` that have a name by :func:`make_temporary_path`: of writers, or left by kills."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.{8 * '[0-9a-f]'}"))


@lru_cache(maxsize=256)
def _list_at_first(folder: Path) -> dict[str, list[Path]]:
    """List what lay in a folder with a name by :func:`make_temporary_path`, by the file whose place it was to take.

    A process looks once: who writes many files into one folder would look through it for each of them.
    """
    found: dict[str, list[Path]] = {}
    with suppress(OSError), os.scandir(folder) as entries:  # whoever writes says what is wrong with it
        for entry in entries:
            temporary = TEMPORARY.fullmatch(entry.name)
            if temporary is not None:
                found.setdefault(temporary["name"], []).append(folder / entry.name)
    return found


class _Written(io.FileIO):
    """A new file that remembers what kept it from being written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.fault: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.needed = self.tell() + memoryview(data).nbytes  # type: ignore[attr-defined]
            self.fault = error
            raise


@contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Have an error of the operating system that names no file, or a temporary one, name ``path``."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(f".{path.name}."):
            error.filename = str(path)
        raise


@contextmanager
def hold_lock(path: Path, *, wait: bool) -> Iterator[None]:
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
        UserError: it cannot; the message names ``setting``.
        OSError: the machine is short of something, such as space.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, prefix=".probe-"):  # without a name, where the disk can do that
            pass
    except OSError as error:
        if is_shortage(error):
            error.filename = str(path)
            raise
        raise UserError(f"{setting}: cannot write to {path} ({error.strerror}); choose another folder") from error
    return path


def check_file(path: Path, setting: str) -> None:
    """See that a file can be written, and make its folder.

    Raises:
        UserError: it cannot; the message names ``setting``.
        OSError: see :func:`make_folder`.
    """
    make_folder(path.parent, setting)
    if path.is_dir():
        raise UserError(f"{setting}: expected a file to write, found a folder at {path}")


def digest_file(path: str) -> str:
    """SHA-256 of a file's bytes; read again when its size, a time of change or its number on the disk is another.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):  # reading a pipe would never end
        raise OSError(errno.EINVAL, "not a regular file", path)
    return _digest(path, (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))


@lru_cache(maxsize=64)
def _digest(path: str, _stamp: tuple[int, ...]) -> str:
    return digest_content(path).hex()


def digest_content(path: str | bytes) -> bytes:
    """SHA-256 of a file's bytes, of which few are in memory at once.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a path may be bytes)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()
