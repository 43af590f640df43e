"""Shards in a bucket: copied to this machine once, and read there as any others.

A process that decodes images is forked, and the client of a bucket does not outlive that. Besides, training reads an
image in every epoch, and a bucket is paid for every time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from csg.config import DataConfig
from csg.data.reading.cache import cache_folder, write_cached
from csg.data.reading.shard_index import NAMES, SUFFIX
from csg.messages.errors import UserError
from csg.messages.waiting import WaitingLines
from csg.messages.wording import pluralize
from csg.storage.address import check_address, is_address
from csg.storage.bucket import BucketPlace
from csg.storage.files import locked, make_folder
from csg.storage.place import Stamp

AT_A_TIME: Final = 8
"""Shards that are copied at the same time."""


def fetch_shards(config: DataConfig) -> DataConfig:
    """Copy all shards that the settings name by an address, unless they were, and name their folders on this machine.

    Raises:
        UserError: there are none at an address, it does not answer, or the pair does not read shards there.
        BucketGoneError: the bucket does not answer any more.
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
    place = BucketPlace(check_address(text, setting))
    place.reach(setting, writing=False)
    wanted = {name: stamp for name, stamp in place.list_files().items() if name.endswith(SUFFIX) or name == NAMES}
    if not any(name.endswith(SUFFIX) for name in wanted):
        raise UserError(
            f"{setting}: expected shards ({SUFFIX}) at {text}, found none; of a bucket nothing else is read: mount it, "
            "and give its path, or write its images into shards"
        )
    folder = _find_folder(place, cache_folder(config))
    _copy(place, wanted, folder)
    return str(folder)


def _find_folder(place: BucketPlace, cache: Path) -> Path:
    """Return where on this machine the shards of an address lie: its last names tell it from others, as a path's do."""
    address = urlsplit(place.root)
    digest = hashlib.sha256(place.root.encode()).hexdigest()[:16]
    names = [name for name in unquote(f"{address.netloc}/{address.path}").split("/") if name not in ("", ".", "..")]
    return cache.joinpath(f"fetched-{digest}", *names)


def _copy(place: BucketPlace, wanted: Mapping[str, Stamp], folder: Path) -> None:
    """Copy what is not there yet or has changed, and remove what is not in the bucket any more."""
    make_folder(folder.parent, "data.cache")
    with locked(folder.with_name(f".{folder.name}.lock"), wait=True):
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        missing = {name: stamp for name, stamp in wanted.items() if not _is_copied(folder / name, stamp)}
        if not missing:
            return
        logging.getLogger(__name__).warning(
            "copying %s (%.1f MB) from %s into %s, once",
            pluralize(len(missing), "file"),
            sum(stamp.size for stamp in missing.values()) / 1e6,
            place,
            folder,
        )
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            copies = [pool.submit(_copy_one, place / name, stamp, folder / name) for name, stamp in missing.items()]
            waiting = WaitingLines(f"copied {{}} files into {folder}", len(copies))
            try:
                for copy in copies:
                    copy.result()
                    waiting.add(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _is_copied(path: Path, stamp: Stamp) -> bool:
    """Whether a file is the copy of an object of this size and time of change."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (found.st_size, found.st_mtime_ns) == (stamp.size, _round(stamp))


def _copy_one(place: BucketPlace, stamp: Stamp, path: Path) -> None:
    """Copy an object, whole or not at all, and give the file its time of change."""
    with write_cached(path) as file:
        for block in place.read_blocks(stamp.size):
            file.write(block)
        file.flush()
        os.utime(file.fileno(), ns=(_round(stamp), _round(stamp)))


def _round(stamp: Stamp) -> int:
    """Return an object's time of change in ns, as whole microseconds, which every disk keeps."""
    return round(stamp.modified * 1e6) * 1000
