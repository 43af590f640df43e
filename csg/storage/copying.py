"""Files of a folder in a bucket, copied to this machine: whole or not at all, and never changed afterwards.

A folder of copies is named after the address and the listing, so that what somebody writes to the bucket comes into
another folder, beside the one that a training may be reading.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from csg.messages.faults import OutsideFaultError
from csg.messages.waiting import Waiting
from csg.messages.wording import pluralize
from csg.storage.bucket import BucketPlace
from csg.storage.files import hold_lock
from csg.storage.place import ConflictError, Stamp

AT_A_TIME: Final = 8
"""Files that are copied at the same time."""
LISTINGS: Final = 3
"""How often a folder is listed, where files in it change or go while they are copied."""


def copy_folder(
    place: BucketPlace,
    choose: Callable[[Mapping[str, Stamp | None]], Mapping[str, Stamp]],
    below: Path,
    write: Callable[[Path], AbstractContextManager[BinaryIO]],
) -> Path:
    """Return a folder of this machine with copies of files in a bucket's folder; copy those that it lacks.

    Args:
        place: the folder in the bucket.
        choose: returns the files to copy of what :meth:`~csg.storage.bucket.BucketPlace.list_entries` returned.
        below: folder in which copies lie, by address and listing; the last names of theirs are those of the address.
        write: opens a file that takes its place when it is whole.

    Raises:
        BucketGoneError: the bucket does not answer.
        OutsideFaultError: files there change or go again and again while they are copied.
        OSError: a file of this machine cannot be written.
    """
    for _ in range(LISTINGS):
        wanted = choose(place.list_entries())
        folder = _name_folder(place, wanted, below)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with hold_lock(folder.with_name(f".{folder.name}.lock"), wait=True):
                _copy_missing(place, wanted, folder, write)
        except ConflictError as error:
            changed = error
            logging.getLogger(__name__).warning("%s was removed or written anew while it was copied", error)
        else:
            return folder
    raise OutsideFaultError(f"{changed} was removed or written anew while it was copied; try again when nobody does so")


def _name_folder(place: BucketPlace, wanted: Mapping[str, Stamp], below: Path) -> Path:
    address = urlsplit(place.root)
    listing = [place.root, *sorted((name, *stamp) for name, stamp in wanted.items())]
    digest = hashlib.sha256(repr(listing).encode()).hexdigest()[:16]
    names = [name for name in unquote(f"{address.netloc}/{address.path}").split("/") if name not in ("", ".", "..")]
    return below.joinpath(f"fetched-{digest}", *names)


def _copy_missing(
    place: BucketPlace,
    wanted: Mapping[str, Stamp],
    folder: Path,
    write: Callable[[Path], AbstractContextManager[BinaryIO]],
) -> None:
    """Copy the files that the folder lacks; the first error ends the copying of all others between two blocks."""
    missing = {name: stamp for name, stamp in wanted.items() if not (folder / name).exists()}
    if not missing:
        return
    megabytes = sum(stamp.size for stamp in missing.values()) / 1e6
    logging.getLogger(__name__).warning(
        "copying %s (%.1f MB) from %s into %s, once", pluralize(len(missing), "file"), megabytes, place, folder
    )
    stop = threading.Event()

    def copy(name: str) -> None:
        with write(folder / name) as file:
            for block in (place / name).read_blocks(missing[name], stop=stop):
                file.write(block)

    waiting = Waiting("copying files", f"copied {{}} files into {folder}", len(missing))
    with waiting, ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            for done in as_completed([pool.submit(copy, name) for name in missing]):
                done.result()
                waiting.add(1)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
