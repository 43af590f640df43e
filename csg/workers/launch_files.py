"""Files in a run's folder through which a driver and its workers communicate."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from typing import Final

from csg.storage.place import Place

PROGRESS_SECONDS = 0.5
"""How often the first worker writes its progress."""

_NAMED: Final = re.compile(r"\.+(launch|error|progress|ray_train)-(?P<launch>[^.]+)")
"""How names of a launch's files begin, and of what killed writers of them left."""


class LaunchFiles:
    """What driver and workers of one launch share in the run's folder, hidden there; nothing of it outlives the run."""

    def __init__(self, folder: Place, name: str) -> None:
        self.name = name
        self._folder = folder
        self.wanted = folder / f".launch-{name}"
        self.error = folder / f".error-{name}"
        self.progress = folder / f".progress-{name}"
        self.ray_train = folder.local / f".ray_train-{name}"
        """What Ray Train keeps of a run, on the driver's disk, holds nothing that the run's own folder lacks."""

    @classmethod
    def remove_all(cls, folder: Place) -> None:
        """Remove those of all launches of a finished run, also what killed drivers and workers left."""
        local = {path.name for path in folder.local.glob(".*")}
        launches = {found["launch"] for found in map(_NAMED.match, {*folder.list_names(), *local}) if found}
        for files in (cls(folder, name) for name in launches):
            files.remove()
            for file in files._shared:
                file.remove_leftovers()

    @property
    def _shared(self) -> tuple[Place, ...]:
        return self.wanted, self.error, self.progress

    def remove(self) -> None:
        """Remove them all."""
        for file in self._shared:
            file.remove()
        shutil.rmtree(self.ray_train, ignore_errors=True)


class Unwanted:
    """Whether a launch's file is gone. A bucket is not asked after every step."""

    def __init__(self, wanted: Place) -> None:
        self._wanted = wanted
        self._asked = -math.inf

    def __call__(self) -> bool:
        """Return whether to stop."""
        if time.monotonic() - self._asked < self._wanted.poll_seconds:
            return False
        gone = not self._wanted.exists()
        self._asked = time.monotonic()
        return gone


class Progress:
    """Writes the steps done and the steps in all to a file, at most every PROGRESS_SECONDS."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._every = max(place.poll_seconds, PROGRESS_SECONDS)
        self._written = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Write them, unless that was done just before."""
        if time.monotonic() - self._written >= self._every or done == total:
            self._place.write(json.dumps([done, total]).encode())
            self._written = time.monotonic()
