"""What files hold, as SHA-256 of their bytes: read once, and remembered on disk until a file changes.

A file counts as unchanged while its size, its times of modification and of change, and its number on the disk are what
they were. The time of change is what a copy that keeps the other times cannot set.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from csg.data.reading.cache import write_cached
from csg.messages.faults import is_file_fault
from csg.messages.text import make_one_line
from csg.messages.waiting import Waiting
from csg.storage.files import digest_content

Digests = npt.NDArray[np.uint8]
Stamps = npt.NDArray[np.int64]

ABSENT: Final = -1
"""In every column of the stamp of what is no file."""
NO_FILE: Final = bytes(32)
"""The digest of what is no file."""
NOT_READ: Final = b"\xff" * 32
"""The digest of a file that cannot be read, which is not remembered."""
MANY: Final = 10_000
"""Files whose reading takes long enough for a word in the log."""
LOOKED_UP: Final = 1000
"""Files whose stamps a thread looks up before it takes others."""
_CHUNK: Final = 64
"""Files that a thread reads before it takes others."""
_TICK: Final = 20_000_000
"""Nanoseconds within which the kernel's clock may not tell two changes apart."""
_COARSE_TICK: Final = 2_000_000_000
"""The same where times are whole seconds."""
_ENTRY: Final = np.dtype([("name", "<u8", (2,)), ("stamp", "<i8", (4,)), ("digest", "u1", (32,))])
"""What is remembered of a file: a hash of its path below the folder, its stamp, and its digest."""


def read_stamps(folder: str, names: Sequence[bytes]) -> Stamps:
    """Return (N, 4) size in bytes, times of modification and of change in ns, and number of files below a folder.

    Files that have changed a moment ago are looked at again a moment later: a second change within one tick of the
    clock would leave the stamp as it is.

    Raises:
        OSError: the machine lacks something, which is no fault of a file's.
    """
    paths = [os.path.join(os.fsencode(folder), name) for name in names]  # noqa: PTH118 (bytes)
    began = time.time_ns()
    with Waiting("looking up files", f"looked up {{}} files below {folder}", len(paths)) as waiting:
        stamps = _read_stamps(paths, waiting)
    changed = stamps[:, 2]
    left = np.where(changed % 1_000_000_000 == 0, _COARSE_TICK, _TICK) - (began - changed)
    recent = np.flatnonzero((left > 0) & (changed != ABSENT))
    if len(recent):
        time.sleep(min(int(left.max()), _COARSE_TICK) / 1e9)
        stamps[recent] = [_read_stamp(paths[place]) for place in recent.tolist()]
    return stamps


def _read_stamps(paths: Sequence[bytes], waiting: Waiting) -> Stamps:
    """Return (N, 4) stamps; of many files several at a time, for a disk at the other end of a network answers late."""

    def read(part: Sequence[bytes]) -> Stamps:
        return np.array([_read_stamp(path) for path in part], dtype=np.int64).reshape(-1, 4)

    if len(paths) < LOOKED_UP:
        return read(paths)
    found = []
    with ThreadPoolExecutor(16) as readers:
        for stamps in readers.map(read, (paths[at : at + LOOKED_UP] for at in range(0, len(paths), LOOKED_UP))):
            found.append(stamps)
            waiting.add(len(stamps))
    return np.concatenate(found)


def split_names(names: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Iterator[bytes]:
    """Yield the names that stand one after the other in an array, each up to its end."""
    every, start = names.tobytes(), 0
    for end in ends.tolist():
        yield every[start:end]
        start = end


class Contents:
    """The digests of the files of one listing, which are read when they are first asked for.

    Arrays, not Python objects, so that a process that is forked shares their memory for good.
    """

    def __init__(
        self,
        folder: str,
        names: npt.NDArray[np.uint8],
        ends: npt.NDArray[np.int64],
        stamps: Stamps,
        cache: Path | None,
    ) -> None:
        """Take N files; for all but the last see :class:`csg.data.reading.image_files.ImageFiles`.

        Args:
            folder: that the names are relative to.
            names: one after the other, as bytes.
            ends: (N,) where each name ends.
            stamps: (N, 4) of :func:`read_stamps`.
            cache: folder in which digests are remembered; None remembers nothing.
        """
        self._folder, self._names, self._ends, self._stamps = folder, names, ends, stamps
        where = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
        self._memory = None if cache is None else cache / f"contents-{where}.bin"
        self._digests: Digests = np.zeros((len(ends), 32), dtype=np.uint8)
        self._known: npt.NDArray[np.bool_] | None = None

    def count_unknown(self) -> int:
        """Return how many files would have to be read."""
        return int((~self._find_recalled()).sum())

    def read_digests(self, places: npt.NDArray[np.int64]) -> Digests:
        """Return (n, 32) SHA-256 of the files at some places; files that are not known yet are all read, in parallel.

        Raises:
            UserError: what was read cannot be remembered.
            OSError: see :func:`read_stamps`.
        """
        unknown = np.flatnonzero(~self._find_recalled())
        if len(unknown):
            if len(unknown) >= MANY:
                logging.getLogger(__name__).warning(
                    "reading %s files below %s, once, to know them by their content",
                    f"{len(unknown):,}",
                    make_one_line(self._folder),
                )
            parts = np.array_split(unknown, -(-len(unknown) // _CHUNK))
            waiting = Waiting("reading files", f"read {{}} files below {self._folder}", len(unknown))
            found = []
            with waiting, ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), 16)) as readers:
                for digests in readers.map(self._read, parts):
                    found.append(digests)
                    waiting.add(len(digests) // 32)
            self.learn(unknown, b"".join(found))
        return self._digests[places]

    def recall(self, place: int) -> bytes:
        """Return the SHA-256 of the file at a place; empty where it is not known, or there is nothing to be read."""
        digest = self._digests[place].tobytes() if self._find_recalled()[place] else b""
        return b"" if digest in (NO_FILE, NOT_READ) else digest

    def learn(self, places: npt.NDArray[np.int64], digests: bytes) -> None:
        """Take and remember the digests, one after the other, of files that were read.

        Raises:
            UserError: they cannot be remembered.
        """
        known = self._find_recalled()
        if not len(places):
            return
        learnt = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
        new = ~known[places] | (self._digests[places] != learnt).any(axis=1)
        self._digests[places] = learnt
        known[places] = True
        if (new & _are_readable(learnt)).any():
            self._remember()

    def _find_recalled(self) -> npt.NDArray[np.bool_]:
        """Return (N,) whether a file's digest is known, after what is remembered was looked up."""
        if self._known is None:
            self._known = self._stamps[:, 0] == ABSENT
            kept = _read_memory(self._memory)
            if len(kept) and len(self._stamps):
                names = self._hash_names()
                rows = np.searchsorted(kept["name"][:, 0], names[:, 0]).clip(max=len(kept) - 1)
                entries = kept[rows]
                same = (entries["name"] == names).all(axis=1) & (entries["stamp"] == self._stamps).all(axis=1)
                same &= ~self._known
                self._digests[same] = entries["digest"][same]
                self._known |= same
        return self._known

    def _remember(self) -> None:
        """Write down what is known, beside what is remembered of other files of this folder.

        What another process writes in the same moment may be lost: it is read again.
        """
        if self._memory is None:
            return
        kept = (self._stamps[:, 0] != ABSENT) & self._find_recalled() & _are_readable(self._digests)
        entries = np.zeros(int(kept.sum()), dtype=_ENTRY)
        entries["name"] = self._hash_names()[kept]
        entries["stamp"] = self._stamps[kept]
        entries["digest"] = self._digests[kept]
        before = _read_memory(self._memory)
        both = np.concatenate([entries, before[~np.isin(before["name"][:, 0], entries["name"][:, 0])]])
        held = io.BytesIO()
        np.save(held, both[np.argsort(both["name"][:, 0], kind="stable")], allow_pickle=False)
        content = held.getvalue()
        with write_cached(self._memory) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _hash_names(self) -> npt.NDArray[np.uint64]:
        hashed = b"".join(hashlib.sha256(name).digest()[:16] for name in split_names(self._names, self._ends))
        return np.frombuffer(hashed, dtype="<u8").reshape(-1, 2)

    def _name(self, place: int) -> bytes:
        start = 0 if place == 0 else int(self._ends[place - 1])
        return self._names[start : int(self._ends[place])].tobytes()

    def _read(self, places: npt.NDArray[np.int64]) -> bytes:
        folder = os.fsencode(self._folder)
        return b"".join(_digest(os.path.join(folder, self._name(place))) for place in places.tolist())  # noqa: PTH118


def _are_readable(digests: Digests) -> npt.NDArray[np.bool_]:
    """Return (n,) whether digests are of what could be read."""
    readable: npt.NDArray[np.bool_] = (digests != np.frombuffer(NOT_READ, dtype=np.uint8)).any(axis=1)
    return readable


def _read_memory(path: Path | None) -> npt.NDArray[np.void]:
    """Return what is remembered, by the names' first halves; nothing where there is no such file or it is damaged."""
    nothing = np.zeros(0, dtype=_ENTRY)
    if path is None:
        return nothing
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return nothing
        kept: npt.NDArray[np.void] = np.load(io.BytesIO(content[32:]), allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return nothing
    return kept if kept.dtype == _ENTRY and kept.ndim == 1 else nothing


def _read_stamp(path: bytes) -> tuple[int, int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path a file would double the time)
    except OSError as error:
        if not is_file_fault(error):
            raise  # absent, it would change what the data are
        return ABSENT, ABSENT, ABSENT, ABSENT
    if not stat.S_ISREG(found.st_mode):
        return ABSENT, ABSENT, ABSENT, ABSENT
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & (2**63 - 1)


def _digest(path: bytes) -> bytes:
    try:
        return digest_content(path)
    except FileNotFoundError:
        return NO_FILE
    except OSError as error:
        if not is_file_fault(error):
            raise
        return NOT_READ
