"""Where rendered images, the results of checks and what is known of files are kept."""

from __future__ import annotations

from pathlib import Path

from csg.config import DataConfig
from csg.object_store import home
from csg.settings import ConfigError
from csg.storage import replacing


def cache_folder(config: DataConfig) -> Path:
    """Return the folder ``data.cache``; where it is None, one below this machine's home, wherever that is."""
    return home() / "data" if config.cache is None else Path(config.cache)


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache, whole or not at all; other processes may read or write it meanwhile.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(
            f"data.cache: cannot write {path} ({error.strerror}); choose another folder with --data.cache"
        ) from error
