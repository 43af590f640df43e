"""Where results lie, as all code sees it that writes or reads them: on a disk, or in a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from csg.storage.files import hold_lock, make_folder, open_replacement


class ConflictError(Exception):
    """Somebody else has written to a file since it was read."""


class Stamp(NamedTuple):
    """What changes when a file is written anew."""

    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970; in a bucket whole seconds."""


class Place(ABC):
    """A file or a folder of results. Its text (``str``) is the path or the address by which other machines find it.

    A file is there whole or not at all, whatever kills its writer. In a bucket every method that asks it raises
    :class:`~csg.storage.bucket.BucketGoneError` where it stays away.
    """

    poll_seconds: ClassVar[float]
    """How long to wait at least before looking again whether something changed."""
    makes_folders: ClassVar[bool]
    """Whether writing makes all folders above. On a disk only the lowest: of one that went away no part is made anew at
    its mount point."""

    @property
    @abstractmethod
    def local(self) -> Path:
        """Path on this machine for what no other machine needs; on a disk it is the place itself."""

    @abstractmethod
    def __truediv__(self, name: str) -> Place: ...

    @abstractmethod
    def open(self) -> BinaryIO:
        """Open the file to read what one writing left there.

        Raises:
            FileNotFoundError: there is none.
        """

    @contextmanager
    def open_replacement(self) -> Iterator[BinaryIO]:
        """Open a file that takes the place of this one, in a folder that is made, when the block ends without an error.

        Raises:
            OSError: see :func:`csg.storage.files.open_replacement`; or the disk went away.
        """
        self.local.parent.mkdir(parents=self.makes_folders, exist_ok=True)
        with open_replacement(self.local, put=self._put) as file:
            yield file

    def write(self, data: bytes) -> None:
        """Have ``data`` take the place of the file; see :meth:`open_replacement`."""
        with self.open_replacement() as file:
            file.write(data)

    @abstractmethod
    def _put(self, temporary: Path) -> None:
        """Have a file of this machine take the place of this one."""

    @abstractmethod
    def append(self, data: bytes, *, after: bytes | bytearray) -> None:
        """Add ``data`` to the file, which held ``after`` when it was last read or written; b"" where there was none.

        Raises:
            ConflictError: its size is another now.
            OSError: it cannot be written; it is as it was.
        """

    @abstractmethod
    def stamp(self) -> Stamp | None:
        """Return the file's size and time of change; None where there is none."""

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.stamp() is not None

    @abstractmethod
    def list_names(self) -> list[str]:
        """List what lies in the folder, in alphabetical order; nothing where there is no folder."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the file, if it is there."""

    @abstractmethod
    def remove_leftovers(self) -> None:
        """Remove what killed writers of the file left; only for whoever alone writes it on this machine."""

    def make_folder(self, setting: str) -> None:
        """Make the folder on this machine and see that it can be written to; see :func:`csg.storage.files.make_folder`.

        Raises:
            UserError: it cannot; the message names ``setting``.
        """
        make_folder(self.local, setting)

    @contextmanager
    def lock(self, *, wait: bool) -> Iterator[None]:
        """Hold a lock of the folder, which no two processes on a machine hold at once, and which a kill sets free.

        On a disk that machines share it keeps other machines out too.

        Raises:
            BlockingIOError: another process holds it, and ``wait`` is false.
            OSError: the disk went away.
        """
        self.local.mkdir(parents=self.makes_folders, exist_ok=True)
        with hold_lock(self.local / ".lock", wait=wait):
            yield

    @abstractmethod
    def reach(self, setting: str, *, writing: bool) -> None:
        """See that a bucket answers and lets this machine write below the folder, or read the file.

        Raises:
            UserError: it does not; the message names ``setting``.
        """
