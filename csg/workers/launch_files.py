"""Files in a run's folder through which a driver and its workers communicate."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path

from csg.storage.files import exists, names, remove, replacing
from csg.storage.object_store import store_of

ASK_SECONDS = 2.0
"""How often at most an object store is asked for changes, and progress is written to it."""
PROGRESS_SECONDS = 0.5
"""How often the first worker writes its progress."""


class LaunchFiles:
    """What driver and workers of one launch share in the run's folder, hidden there; nothing of it outlives the run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._folder = folder
        self.wanted = folder / f".launch-{name}"
        self.error = folder / f".error-{name}"
        self.progress = folder / f".progress-{name}"
        self.ray_train = folder / f".ray_train-{name}"
        """What Ray Train keeps of a run, on the driver's disk, holds nothing that the run's own folder lacks."""

    @classmethod
    def find_all(cls, folder: Path) -> list[LaunchFiles]:
        """Find all launches that left files, also those of drivers that were killed."""
        found = {*names(folder), *(path.name for path in folder.glob(".ray_train-*"))}
        launches = {
            name.partition("-")[2]
            for name in found
            if name.startswith((".launch-", ".error-", ".progress-", ".ray_train-"))
        }
        return [cls(folder, name) for name in sorted(launches)]

    def remove(self) -> None:
        """Remove them all."""
        for file in (self.wanted, self.error, self.progress):
            remove(file)
        shutil.rmtree(self.ray_train, ignore_errors=True)


class Unwanted:
    """Whether a launch's file is gone. An object store is not asked after every step."""

    def __init__(self, wanted: Path) -> None:
        self._wanted = wanted
        self._every = choose_pause(wanted.parent, 0.0)
        self._asked = -math.inf

    def __call__(self) -> bool:
        """Return whether to stop."""
        if time.monotonic() - self._asked < self._every:
            return False
        gone = not exists(self._wanted)
        self._asked = time.monotonic()
        return gone


class Progress:
    """Writes the steps done and the steps in all to a file, at most every PROGRESS_SECONDS."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._every = choose_pause(path.parent, PROGRESS_SECONDS)
        self._written = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Write them, unless that was done just before."""
        if time.monotonic() - self._written >= self._every or done == total:
            with replacing(self._path) as file:
                file.write(json.dumps([done, total]).encode())
            self._written = time.monotonic()


def choose_pause(folder: Path, seconds: float) -> float:
    """Return how long to wait before looking again: longer at an object store, where a look takes a request."""
    return seconds if store_of(folder) is None else max(seconds, ASK_SECONDS)
