"""Shards in a bucket: copied to this machine once, and read there as any others.

A process that decodes images is forked, and the client of a bucket does not outlive that. Besides, training reads an
image in every epoch, and a bucket is paid for every time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from csg.config import DataConfig
from csg.data.reading.cache import get_cache_folder, write_cached
from csg.data.reading.listing import is_of_system
from csg.data.reading.shard_index import NAMES, SUFFIX
from csg.messages.errors import UserError
from csg.storage.address import check_address, is_address
from csg.storage.bucket import BucketPlace
from csg.storage.copying import copy_folder
from csg.storage.files import make_folder
from csg.storage.place import Stamp


def fetch_shards(config: DataConfig) -> DataConfig:
    """Copy all shards that the settings name by an address, unless they were, and name their folders on this machine.

    Raises:
        UserError: there are none at an address, the pair does not read shards there, or ``data.cache`` cannot be
            written to.
        BucketGoneError: the bucket does not answer.
        OutsideFaultError: shards change or go again and again while they are copied.
        OSError: the machine is short of something, such as space.
    """
    sources = tuple(_fetch("data.source", text, config) for text in config.sources) or None
    target, unlabelled = (
        None if text is None else _fetch(setting, text, config)
        for setting, text in (("data.target", config.target), ("data.target_unlabelled", config.target_unlabelled))
    )
    changed = {"source": sources, "target": target, "target_unlabelled": unlabelled}
    return dataclasses.replace(config, **changed)  # type: ignore[arg-type]


def _fetch(setting: str, text: str, config: DataConfig) -> str:
    """Return the folder of a side on this machine."""
    if not is_address(text):
        return text
    if config.name != "folders" and setting != "data.target_unlabelled":
        raise UserError(
            f"{setting}: expected a path with data.name={config.name}, whose label maps are read from no bucket, found "
            f"the address {text}; mount it, and give its path"
        )

    def choose(entries: Mapping[str, Stamp | None]) -> Mapping[str, Stamp]:
        """Choose as :func:`csg.data.reading.shard_index.find_shards` does on a disk."""
        folder = next((name for name, stamp in entries.items() if stamp is None and not is_of_system(name)), None)
        shards = {
            name: stamp
            for name, stamp in entries.items()
            if stamp is not None and name.endswith(SUFFIX) and not is_of_system(name)
        }
        if folder is not None or not shards:
            found = "none" if folder is None else f"the folder {folder}, beside which they are not read"
            raise UserError(
                f"{setting}: expected shards ({SUFFIX}) at {text}, found {found}; of a bucket nothing else is read: "
                "mount it, and give its path, or write its images into shards"
            )
        names = entries.get(NAMES)
        return shards if names is None else {**shards, NAMES: names}

    below = make_folder(get_cache_folder(config), "data.cache")
    return str(copy_folder(BucketPlace(check_address(text, setting)), choose, below, write_cached))
