"""Where rendered and resized images, copies of shards, results of checks and what is known of files are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from csg.config import DataConfig
from csg.messages.errors import UserError
from csg.messages.faults import is_shortage
from csg.storage.files import open_replacement
from csg.storage.paths import get_home


def get_cache_folder(config: DataConfig) -> Path:
    """Return the folder ``data.cache``; where it is None, one below this machine's home, wherever that is."""
    return get_home() / "data" if config.cache is None else Path(config.cache)


@contextmanager
def write_cached(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file of the cache to write it, whole or not at all; others may read or write the same one meanwhile.

    ``sync`` is that of :func:`csg.storage.files.open_replacement`.

    Raises:
        UserError: the folder cannot be written to.
        OSError: the machine is short of something, such as space.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_replacement(path, sync=sync) as file:
            yield file
    except OSError as error:
        if is_shortage(error):
            raise
        raise UserError(
            f"data.cache: cannot write {path} ({error.strerror}); choose another folder with --data.cache"
        ) from error
