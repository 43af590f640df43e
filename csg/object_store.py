"""Results in an object store: ``train.output`` as an address, such as ``s3://bucket/prefix``.

All code names files by paths. An address has a working folder on each machine, and a path below it stands for the
object of the same name: :mod:`csg.storage` writes and reads the object, and keeps no copy. Only what no other machine
needs lies in the working folder itself: locks, temporary files, Ray's own folders and the SQLite store of MLflow.

An object appears whole or not at all. There are no locks between machines: two that train the same run compute the
same, and the last one that writes an object wins.
"""

from __future__ import annotations

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
from urllib.parse import parse_qsl, urlsplit

from csg.settings import ConfigError

ATOMIC = ("s3", "gcs")
"""Kinds of stores that show an object when it is whole, never before; elsewhere it gets another name first."""
REACH_SECONDS = 30.0
"""How long a store may take to answer for the first time, whatever its client's own patience."""
PATIENCE_SECONDS = 60.0
"""How long a store that answered before is asked again when it does not."""
T = TypeVar("T")


class Stamp(NamedTuple):
    """What changes when a file is written anew."""

    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970; of an object whole seconds."""


def is_address(text: str) -> bool:
    """Whether ``text`` names a place in an object store, and not a path."""
    return "://" in text


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
        self._is_reached = False

    def address(self, path: Path) -> str:
        """Return the address of the object that ``path`` stands for."""
        return self._address._replace(path=self._below(self._address.path, path)).geturl()

    def _below(self, start: str, path: Path) -> str:
        return "/".join([start.rstrip("/"), *path.relative_to(self.root).parts])

    @cached_property
    def _client(self) -> tuple[Any, str]:
        """The file system and the key that the address stands for."""
        from pyarrow import fs

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

    def reach(self) -> None:
        """Write an object and remove it, unless this process did so before.

        Raises:
            ConfigError: pyarrow is missing, or the store refuses or does not answer within REACH_SECONDS.
        """
        if self._is_reached:
            return
        try:
            import pyarrow.fs  # noqa: F401
        except ImportError:
            raise ConfigError(
                f"train.output: {self._address.geturl()} is an address, which takes pyarrow: pip install pyarrow"
            ) from None
        failures: list[BaseException] = []

        def probe() -> None:
            try:
                filesystem, key = self._client[0], self._key(self.root / f".probe-{uuid.uuid4().hex}")
                self._make_parent(key)
                with filesystem.open_output_stream(key) as stream:
                    stream.write(b"")
                filesystem.delete_file(key)
            except BaseException as error:  # whatever a client raises is told to the user below
                failures.append(error)

        thread = threading.Thread(target=probe, daemon=True)
        thread.start()
        thread.join(REACH_SECONDS)
        if thread.is_alive() or failures:
            reason = _first_line(failures[0]) if failures else f"no answer within {REACH_SECONDS:.0f} s"
            raise ConfigError(
                f"train.output: cannot write to {self._address.geturl()} ({reason}); expected a bucket that exists and "
                "credentials for it in the environment, on every machine"
            ) from None
        self._is_reached = True

    def _make_parent(self, key: str) -> None:
        """Make the folder of a key where the store has folders."""
        filesystem = self._client[0]
        if filesystem.type_name not in ATOMIC:
            filesystem.create_dir(key.rpartition("/")[0], recursive=True)

    def put(self, file: Path, path: Path) -> None:
        """Copy a file into the place of the object that ``path`` stands for.

        Raises:
            ConfigError: the store does not answer any more.
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
            ConfigError: the store does not answer any more.
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
            ConfigError: the store does not answer any more.
        """
        found = self._patiently(lambda: self._client[0].get_file_info(self._key(path)))
        return Stamp(found.size, found.mtime_ns / 1e9) if found.is_file else None

    def remove(self, path: Path) -> None:
        """Remove an object, if it is there.

        Raises:
            ConfigError: the store does not answer any more.
        """

        def delete() -> None:
            try:
                self._client[0].delete_file(self._key(path))
            except FileNotFoundError:
                return

        self._patiently(delete)

    def names(self, folder: Path) -> list[str]:
        """List what lies in a folder.

        Raises:
            ConfigError: the store does not answer any more.
        """
        from pyarrow.fs import FileSelector

        found = self._patiently(
            lambda: self._client[0].get_file_info(FileSelector(self._key(folder), allow_not_found=True))
        )
        return sorted(each.base_name for each in found)

    def _patiently(self, do: Callable[[], T]) -> T:
        """Ask again, for a while, where the store does not answer."""
        self.reach()
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 1.0
        while True:
            try:
                return do()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"train.output: {self._address.geturl()} does not answer any more ({_first_line(error)}); the "
                        "same command goes on from what is there"
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 10.0)


SECRETS = {"access_key", "secret_key", "session_token", "client_secret", "account_key", "sas_token"}
"""Names of an address's query that hold a secret."""
_STORES: dict[str, ObjectStore] = {}
"""By address: those that this process was told of."""


def checked_address(text: str, setting: str) -> str:
    """Return an address in the one form that names a working folder.

    Raises:
        ConfigError: it holds a password, which would be written into every record, or no name.
    """
    parts = urlsplit(text)
    secret = {name for name, _ in parse_qsl(parts.query)} & SECRETS
    if secret or parts.password is not None or (parts.username and parts.scheme == "s3"):
        raise ConfigError(
            f"{setting}: expected no key in the address, which is written into every record; give credentials in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say)"
        )
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise ConfigError(f"{setting}: expected a path or an address such as s3://bucket/prefix, found {text}")
    return parts._replace(path=parts.path.rstrip("/")).geturl()


def folder_of(output: str) -> Path:
    """Return the folder that ``train.output`` stands for: itself, or an address's working folder."""
    if not is_address(output):
        return Path(output)
    address = checked_address(output, "train.output")
    if address not in _STORES:
        _STORES[address] = ObjectStore(address)
    return _STORES[address].root


def check_store(output: str) -> None:
    """See that ``train.output`` can be written to, where it is an address.

    Raises:
        ConfigError: see :meth:`ObjectStore.reach`.
    """
    store = store_of(folder_of(output))
    if store is not None:
        store.reach()


def file_of(text: str) -> Path:
    """Return the path of a file that is named by its path or its address."""
    if not is_address(text):
        return Path(text)
    parts = urlsplit(text)
    above, _, name = parts.path.rpartition("/")
    return folder_of(parts._replace(path=above).geturl()) / name


def store_of(path: Path) -> ObjectStore | None:
    """Return the store that has the object that ``path`` stands for; None for an ordinary path."""
    return next((store for store in _STORES.values() if path.is_relative_to(store.root)), None)


def address_of(path: Path) -> str:
    """Return how another machine finds a file: its address, or the path itself."""
    store = store_of(path)
    return str(path) if store is None else store.address(path)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
