"""Where rendered and resized images, copies of shards, results of checks and what is known of files are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from csg.config import DataConfig
from csg.messages.errors import UserError
from csg.messages.faults import is_shortage
from csg.storage.files import make_temporary_path, name_file_in_errors, replacing
from csg.storage.paths import home


def cache_folder(config: DataConfig) -> Path:
    """Return the folder ``data.cache``; where it is None, one below this machine's home, wherever that is."""
    return home() / "data" if config.cache is None else Path(config.cache)


@contextmanager
def write_cached(path: Path) -> Iterator[BinaryIO]:
    """Open a file of the cache to write it, whole or not at all; others may read or write the same one meanwhile.

    Raises:
        UserError: the folder cannot be written to.
        OSError: the machine is short of something, such as space.
    """
    with _blaming_cache(path), replacing(path) as file:
        yield file


def write_unsynced(path: Path, content: bytes) -> None:
    """Write a file of the cache, many of which are written: it is not waited for until it is on the disk.

    Others see it whole or not at all, but after a power failure it may be damaged, which its reader has to notice.

    Raises:
        UserError: see :func:`write_cached`.
        OSError: see :func:`write_cached`.
    """
    temporary = make_temporary_path(path)
    with _blaming_cache(path), name_file_in_errors(path):
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _blaming_cache(path: Path) -> Iterator[None]:
    """Make the folder of a file of the cache, and name the setting where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if is_shortage(error):
            raise
        raise UserError(
            f"data.cache: cannot write {path} ({error.strerror}); choose another folder with --data.cache"
        ) from error
