"""Results in an object store: ``train.output`` as an address, such as ``s3://bucket/prefix``.

All code names files by paths. An address has a working folder on each machine, and a path below it stands for the
object of the same name: :mod:`csg.storage.files` writes and reads the object, and keeps no copy. Only what no other
machine needs lies in the working folder itself: locks, temporary files, Ray's folders and the SQLite store of MLflow.

An object appears whole or not at all. There are no locks between machines: two that train the same run compute the
same, and the last one that writes an object wins, except that a finished record stays.

A command asks the store once before it starts (:meth:`ObjectStore.reach`). From then on a store that is away is asked
again for a while; then what is under way ends with a :class:`StoreGoneError`, and goes on later.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.messages.text import get_first_line
from csg.storage.address import checked_address, is_address
from csg.storage.paths import user_path

ATOMIC = ("s3", "gcs")
"""Kinds of stores that show an object when it is whole, never before; elsewhere it gets another name first."""
REACH_SECONDS = 30.0
"""How long a store may take to answer for the first time, whatever its client's own patience."""
PATIENCE_SECONDS = 60.0
"""How long a store is asked again when it does not answer, once work is under way."""
LEFTOVER_SECONDS = 3600.0
"""How long nobody has written to what another machine's broken upload left, when it is removed."""
T = TypeVar("T")


class StoreGoneError(OutsideFaultError):
    """A store does not answer any more: nothing is wrong with what was under way, which can go on later."""


class Stamp(NamedTuple):
    """What changes when a file is written anew."""

    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970; of an object whole seconds."""


def home() -> Path:
    """Return this machine's folder for working folders: below ``$XDG_CACHE_HOME``, or else ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csg-ablation"


class ObjectStore:
    """What lies below one address."""

    def __init__(self, address: str) -> None:
        """Take an address that :func:`checked_address` returned; nothing is asked of the store yet."""
        self._address = urlsplit(address)
        self.root = home() / hashlib.sha256(address.encode()).hexdigest()[:16]
        """The working folder."""
        self._reached: set[str] = set()

    def address(self, path: Path) -> str:
        """Return the address of the object that ``path`` stands for."""
        return self._address._replace(path=self._below(self._address.path, path)).geturl()

    def _below(self, start: str, path: Path) -> str:
        return "/".join([start.rstrip("/"), *path.relative_to(self.root).parts])

    @cached_property
    def _client(self) -> tuple[Any, str]:
        """The file system and the key that the address stands for."""
        try:
            from pyarrow import fs
        except ImportError:
            raise UserError(
                f"train.output: {self._address.geturl()} is an address, which takes pyarrow: pip install pyarrow"
            ) from None
        filesystem, key = fs.FileSystem.from_uri(self._address.geturl())
        if filesystem.type_name == "s3":
            _, (options,) = filesystem.__reduce__()
            bounded = {"connect_timeout": 5, "request_timeout": 20, "allow_delayed_open": True}
            retries = fs.AwsStandardS3RetryStrategy(max_attempts=3)
            filesystem = fs.S3FileSystem(**options | bounded, retry_strategy=retries)
        elif filesystem.type_name == "gcs":
            _, (options,) = filesystem.__reduce__()
            filesystem = fs.GcsFileSystem(**options | {"retry_time_limit": timedelta(seconds=REACH_SECONDS / 2)})
        return filesystem, key

    def _key(self, path: Path) -> str:
        return self._below(self._client[1], path)

    def reach(self, setting: str = "train.output", *, to_read: Path | None = None) -> None:
        """Write an object and remove it, or only look ``to_read`` one up, unless this process did so before.

        Raises:
            UserError: pyarrow is missing, or the store refuses or does not answer within REACH_SECONDS.
        """
        what = "write to" if to_read is None else "read from"
        if what in self._reached:
            return
        failures: list[BaseException] = []

        def probe() -> None:
            try:
                filesystem, key = self._client[0], self._key(to_read or self.root / f".probe-{uuid.uuid4().hex}")
                if to_read is None:
                    self._make_parent(key)
                    filesystem.open_output_stream(key).close()
                    filesystem.delete_file(key)
                else:
                    filesystem.get_file_info(key)
            except BaseException as error:  # whatever a client raises is told to the user below
                failures.append(error)

        thread = threading.Thread(target=probe, daemon=True)
        thread.start()
        thread.join(REACH_SECONDS)
        if failures and isinstance(failures[0], UserError):
            raise failures[0]
        if thread.is_alive() or failures:
            reason = _said(failures[0]) if failures else f"no answer within {REACH_SECONDS:.0f} s"
            raise UserError(
                f"{setting}: cannot {what} {self._address.geturl()} ({reason}); expected a bucket that exists and "
                "credentials for it in the environment, on every machine"
            ) from None
        self._reached.add(what)

    def _make_parent(self, key: str) -> None:
        """Make the folder of a key where the store has folders."""
        filesystem = self._client[0]
        if filesystem.type_name not in ATOMIC:
            filesystem.create_dir(key.rpartition("/")[0], recursive=True)

    def put(self, file: Path, path: Path) -> None:
        """Copy a file into the place of the object that ``path`` stands for.

        Raises:
            StoreGoneError: the store does not answer any more.
        """
        from pyarrow import fs

        def copy() -> None:
            # One call, which no signal cuts short: a stream that Python closes early would leave a part.
            filesystem, key = self._client[0], self._key(path)
            self._make_parent(key)
            place = key if filesystem.type_name in ATOMIC else key[: -len(path.name)] + file.name
            fs.copy_files(str(file), place, fs.LocalFileSystem(), filesystem, use_threads=False)
            if place != key:
                filesystem.move(place, key)

        self._patiently(copy)

    def read(self, path: Path) -> bytes:
        """Return an object's bytes, of one writing, even where another one takes its place meanwhile.

        Raises:
            FileNotFoundError: there is none.
            StoreGoneError: the store does not answer any more.
        """

        def whole() -> bytes:
            filesystem, key = self._client[0], self._key(path)
            with filesystem.open_input_file(key) as stream:
                data: bytes = stream.read_at(stream.size(), 0)
            if filesystem.get_file_info(key).size not in (len(data), None):
                raise OSError("another writing took its place while it was read")
            return data

        return self._patiently(whole)

    def stamp(self, path: Path) -> Stamp | None:
        """Return an object's size and time, or None where there is none.

        Raises:
            StoreGoneError: the store does not answer any more.
        """
        found = self._patiently(lambda: self._client[0].get_file_info(self._key(path)))
        return Stamp(found.size, found.mtime_ns / 1e9) if found.is_file else None

    def remove(self, path: Path) -> None:
        """Remove an object, if it is there.

        Raises:
            StoreGoneError: the store does not answer any more.
        """
        with contextlib.suppress(FileNotFoundError):
            self._patiently(lambda: self._client[0].delete_file(self._key(path)))

    def names(self, folder: Path) -> list[str]:
        """List what lies in a folder.

        Raises:
            StoreGoneError: the store does not answer any more.
        """
        from pyarrow.fs import FileSelector

        found = self._patiently(
            lambda: self._client[0].get_file_info(FileSelector(self._key(folder), allow_not_found=True))
        )
        return sorted(each.base_name for each in found)

    def remove_leftovers(self, path: Path) -> None:
        """Remove what broken uploads of an object left, unless another machine may be at one.

        Raises:
            StoreGoneError: the store does not answer any more.
        """
        if self._client[0].type_name in ATOMIC:
            return
        for name in self.names(path.parent):
            found = self.stamp(path.with_name(name)) if name.startswith(f".{path.name}.") else None
            if found is not None and time.time() - found.modified > LEFTOVER_SECONDS:
                self.remove(path.with_name(name))

    def _patiently(self, do: Callable[[], T]) -> T:
        """Ask again, for a while, where the store does not answer."""
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 1.0
        while True:
            try:
                return do()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() > deadline:
                    gone = f"train.output: {self._address.geturl()} does not answer any more ({_said(error)})"
                    raise StoreGoneError(f"{gone}; try again when it does") from None
            time.sleep(pause)
            pause = min(2 * pause, 10.0)


_STORES: dict[str, ObjectStore] = {}
"""By address: those that this process was told of."""


def folder_of(output: str) -> Path:
    """Return the folder that ``train.output`` stands for: itself, or an address's working folder."""
    if not is_address(output):
        return Path(output)
    address = checked_address(output, "train.output")
    if address not in _STORES:
        _STORES[address] = ObjectStore(address)
    return _STORES[address].root


def check_store(output: str, *, writing: bool = True) -> None:
    """See that ``train.output`` can be written to, or at least read, where it is an address.

    Raises:
        UserError: see :meth:`ObjectStore.reach`.
    """
    folder = folder_of(output)
    store = store_of(folder)
    if store is not None:
        store.reach(to_read=None if writing else folder)


def file_of(text: str, setting: str) -> Path:
    """Return the path of a file to read that ``setting`` names by its path or its address.

    Raises:
        UserError: an address that cannot be read from; see :func:`checked_address` and :meth:`ObjectStore.reach`.
    """
    if not is_address(text):
        return user_path(text, setting)
    parts = urlsplit(checked_address(text, setting))
    above, _, name = parts.path.rpartition("/")
    path = folder_of(parts._replace(path=above).geturl()) / name
    store = store_of(path)
    if store is not None:
        store.reach(setting, to_read=path)
    return path


def store_of(path: Path) -> ObjectStore | None:
    """Return the store that has the object that ``path`` stands for; None for an ordinary path."""
    return next((store for store in _STORES.values() if path.is_relative_to(store.root)), None)


def address_of(path: Path) -> str:
    """Return how another machine finds a file: its address, or the path itself."""
    store = store_of(path)
    return str(path) if store is None else store.address(path)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {get_first_line(str(error))}"
