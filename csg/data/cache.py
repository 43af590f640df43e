"""Where rendered images and the results of checks are kept."""

from __future__ import annotations

from pathlib import Path

from csg.config import DataConfig
from csg.object_store import home


def cache_folder(config: DataConfig) -> Path:
    """Return the folder ``data.cache``; where it is None, one below this machine's home, wherever that is."""
    return home() / "data" if config.cache is None else Path(config.cache)
