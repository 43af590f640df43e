"""Files in a bucket, by an address such as ``s3://bucket/prefix``, through pyarrow's file systems: results and shards.

Of results no machine keeps a copy; :mod:`csg.storage.copying` copies shards. There are no locks between machines: two
that train the same run compute the same, and the last one that writes an object wins, except that a finished record
stays.

A command asks the bucket once before it starts (:meth:`BucketPlace.reach`). From then on a bucket that is away is asked
again for a while; then what is under way ends with a :class:`BucketGoneError`, and goes on later.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.messages.text import get_first_line
from csg.storage.files import LEFTOVER_SECONDS, find_leftovers
from csg.storage.paths import get_home
from csg.storage.place import ConflictError, Place, Stamp

ATOMIC = ("s3", "gcs")
"""Kinds of buckets that show an object when it is whole, never before; elsewhere it gets another name first."""
REACH_SECONDS = 30.0
"""How long a bucket may take to answer for the first time, whatever its client's own patience."""
PATIENCE_SECONDS = 60.0
"""How long a bucket is asked again when it does not answer, once work is under way."""
BLOCK = 1 << 24
"""Bytes of a large object that are read at once."""
T = TypeVar("T")


class BucketGoneError(OutsideFaultError):
    """A bucket does not answer any more: nothing is wrong with what was under way, which can go on later."""


@dataclass(frozen=True)
class BucketPlace(Place):
    """An object, or the objects whose names begin alike, as files in a folder do."""

    root: str
    """An address that :func:`csg.storage.address.check_address` returned."""
    parts: tuple[str, ...] = ()
    """Names below it, from folder to folder."""
    poll_seconds = 2.0
    makes_folders = True

    @property
    def local(self) -> Path:
        return get_home().joinpath(hashlib.sha256(self.root.encode()).hexdigest()[:16], *self.parts)

    def __truediv__(self, name: str) -> BucketPlace:
        return BucketPlace(self.root, (*self.parts, name))

    def __str__(self) -> str:
        root = urlsplit(self.root)
        return root._replace(path="/".join([root.path.rstrip("/"), *map(quote, self.parts)])).geturl()

    def _find(self) -> tuple[Any, str]:
        """Return pyarrow's file system and the object's key there."""
        filesystem, key = _connect(self.root)
        return filesystem, "/".join([key.rstrip("/"), *self.parts])

    def open(self) -> BinaryIO:
        def read(filesystem: Any, key: str) -> bytes:
            with filesystem.open_input_file(key) as stream:
                data: bytes = stream.read_at(stream.size(), 0)
            if filesystem.get_file_info(key).size not in (len(data), None):
                raise OSError("another writing took its place while it was read")
            return data

        return io.BytesIO(self._ask(read))

    def _put(self, temporary: Path) -> None:
        from pyarrow import fs

        def copy(filesystem: Any, key: str) -> None:
            # One call, which no signal cuts short: a stream that Python closes early would leave a part.
            _make_folder_of(key, filesystem)
            first = key if filesystem.type_name in ATOMIC else f"{key.rpartition('/')[0]}/{temporary.name}"
            fs.copy_files(str(temporary), first, fs.LocalFileSystem(), filesystem, use_threads=False)
            if first != key:
                filesystem.move(first, key)

        self._ask(copy)

    def append(self, data: bytes, *, after: bytes | bytearray) -> None:
        found = self.stamp()
        if (found.size if found else 0) != len(after):
            raise ConflictError(str(self))
        self.write(bytes(after) + data)  # the whole object anew: none can be appended to, nor locked

    def stamp(self) -> Stamp | None:
        return self._ask(_get_stamp)

    def list_names(self) -> list[str]:
        return sorted(each.base_name for each in self._list())

    def list_entries(self) -> dict[str, Stamp | None]:
        """Return what the folder holds by name, in alphabetical order: of a folder None; nothing where there is none.

        Raises:
            BucketGoneError: the bucket does not answer.
        """
        found = sorted(self._list(), key=lambda each: str(each.base_name))
        return {each.base_name: Stamp(each.size, each.mtime_ns / 1e9) if each.is_file else None for each in found}

    def _list(self) -> Any:
        from pyarrow.fs import FileSelector

        try:
            return self._ask(lambda filesystem, key: filesystem.get_file_info(FileSelector(key, allow_not_found=True)))
        except NotADirectoryError:
            return []

    def read_blocks(self, stamp: Stamp, *, stop: threading.Event) -> Iterator[bytes]:
        """Yield the file that a listing showed with ``stamp``, of which few bytes are in memory at once.

        It is read through one stream, which is opened anew only where the bucket did not answer.

        Raises:
            ConflictError: it has been removed or written anew since; what was yielded is no file.
            CancelledError: ``stop`` is set.
            BucketGoneError: the bucket does not answer any more.
        """
        stream: Any = None

        def read(start: int, filesystem: Any, key: str) -> bytes:
            nonlocal stream
            if stop.is_set():
                raise CancelledError
            try:
                stream = stream or filesystem.open_input_file(key)
                block: bytes = stream.read_at(min(BLOCK, stamp.size - start), start)
                if len(block) < min(BLOCK, stamp.size - start):
                    raise OSError("it is cut short")
            except OSError:
                stream = None
                if not _are_same(_get_stamp(filesystem, key), stamp):
                    raise ConflictError(str(self)) from None
                raise
            return block

        for start in range(0, stamp.size, BLOCK):
            yield self._ask(partial(read, start))
        if not _are_same(self.stamp(), stamp):
            raise ConflictError(str(self))

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda filesystem, key: filesystem.delete_file(key))

    def remove_leftovers(self) -> None:
        for temporary in find_leftovers(self.local):
            temporary.unlink(missing_ok=True)
        if self._find()[0].type_name in ATOMIC:
            return
        folder = BucketPlace(self.root, self.parts[:-1])
        for left in (folder / name for name in folder.list_names() if name.startswith(f".{self.parts[-1]}.")):
            found = left.stamp()  # another machine may be uploading a young one
            if found is not None and time.time() - found.modified > LEFTOVER_SECONDS:
                left.remove()

    def reach(self, setting: str, *, writing: bool) -> None:
        failures: list[BaseException] = []

        def probe() -> None:
            try:
                filesystem, key = (self / f".probe-{uuid.uuid4().hex}" if writing else self)._find()
                if writing:
                    _make_folder_of(key, filesystem)
                    filesystem.open_output_stream(key).close()
                    filesystem.delete_file(key)
                else:
                    filesystem.get_file_info(key)
            except BaseException as error:  # whatever a client raises is told to the user below
                failures.append(error)

        thread = threading.Thread(target=probe, daemon=True)
        thread.start()
        thread.join(REACH_SECONDS)
        if failures and isinstance(failures[0], ImportError):
            raise UserError(f"{setting}: {self} is an address, which takes pyarrow: pip install pyarrow") from None
        if thread.is_alive() or failures:
            reason = _describe(failures[0]) if failures else f"no answer within {REACH_SECONDS:.0f} s"
            raise UserError(
                f"{setting}: cannot {'write to' if writing else 'read from'} {self} ({reason}); expected a bucket that "
                "exists and credentials for it in the environment, on every machine"
            ) from None

    def _ask(self, do: Callable[[Any, str], T]) -> T:
        """Call ``do`` with the file system and the key, again and again for a while where the bucket does not answer.

        Raises:
            FileNotFoundError: there is no such object.
            NotADirectoryError: there is an object, and no folder.
            BucketGoneError: the bucket does not answer any more.
        """
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 1.0
        while True:
            try:
                return do(*self._find())
            except (FileNotFoundError, NotADirectoryError):
                raise
            except OSError as error:
                if time.monotonic() > deadline:
                    raise BucketGoneError(
                        f"{self.root} does not answer any more ({_describe(error)}); try again when it does"
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 10.0)


def _get_stamp(filesystem: Any, key: str) -> Stamp | None:
    found = filesystem.get_file_info(key)
    return Stamp(found.size, found.mtime_ns / 1e9) if found.is_file else None


def _are_same(found: Stamp | None, listed: Stamp) -> bool:
    """Whether two stamps are of one writing: some stores list parts of a second, and leave them out elsewhere."""
    return found is not None and found.size == listed.size and abs(found.modified - listed.modified) < 1.0


@lru_cache(maxsize=16)
def _connect(address: str) -> tuple[Any, str]:
    """Return pyarrow's file system for an address, which gives up soon, and the key of the address there."""
    from pyarrow import fs

    filesystem, key = fs.FileSystem.from_uri(address)
    if filesystem.type_name == "s3":
        _, (options,) = filesystem.__reduce__()
        bounded = {"connect_timeout": 5, "request_timeout": 20, "allow_delayed_open": True}
        retries = fs.AwsStandardS3RetryStrategy(max_attempts=3)
        filesystem = fs.S3FileSystem(**options | bounded, retry_strategy=retries)
    elif filesystem.type_name == "gcs":
        _, (options,) = filesystem.__reduce__()
        filesystem = fs.GcsFileSystem(**options | {"retry_time_limit": timedelta(seconds=REACH_SECONDS / 2)})
    return filesystem, key


def _make_folder_of(key: str, filesystem: Any) -> None:
    """Make the folder of a key where there are folders."""
    if filesystem.type_name not in ATOMIC:
        filesystem.create_dir(key.rpartition("/")[0], recursive=True)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {get_first_line(str(error))}"
