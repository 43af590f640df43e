"""A search's memory: every suggestion, decision and ending, in the order in which they happened.

Appending a line is all it costs; in an object store, writing them all anew. Reading the lines back in order, a new
searcher and a new scheduler come to the state of the old ones exactly, wherever a kill fell; Tune's own snapshots hold
no scheduler state and are not written whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from csg.storage.files import naming, opened, replacing, stamp
from csg.storage.object_store import address_of, store_of
from tune_spaces.execution.closing import AnotherDriverError


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened to one trial."""

    kind: Literal["suggested", "reported", "ended", "exhausted"]
    trial: int
    """Trial number, 0 for the first. Of an exhausted space: how many trials it gave."""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of a suggestion: the searched settings."""
    role: str = "suggested"
    """Of a suggestion: source_only or default for the reference points."""
    epoch: int = 0
    """Of a report and an ending: epochs done (0 where it failed)."""
    score: float | None = None
    """Of a report and an ending: the selection score."""
    decision: str = ""
    """Of a report: what the scheduler decided. Of an ending: finished, stopped or failed."""
    seconds: float = 0.0
    """Of a report: time inside training and measurements."""
    time: float = 0.0
    """When it was written, in seconds since 1970."""


class Journal:
    """An append-only file of events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fault: OSError | None = None
        """What kept an event from being written; those after it would make no sense without it."""
        self._published: bytes | None = None
        """Of a journal in a store: what was there when it was first read, and what was appended since."""

    def append(self, event: Event) -> None:
        """Write one event, whole, before going on; in a store after those that this process read first.

        Raises:
            AnotherDriverError: the journal lies in an object store, and another driver has written there since.
            StoreGoneError: the store does not answer any more.
            OSError: this event, or one before it, could not be written; the file ends with the last one that was.
        """
        if self._fault is not None:
            raise self._fault
        stamped = dataclasses.asdict(event) | {"time": time.time()}
        line = json.dumps({name: value for name, value in stamped.items() if value not in ("", {}, None)})
        if store_of(self.path) is not None:
            self._publish(line.encode() + b"\n")
            return
        try:
            with naming(self.path), self.path.open("ab", buffering=0) as file:
                self._write(file, line.encode() + b"\n")
        except OSError as error:
            self._fault = error
            raise

    @staticmethod
    def _write(file: FileIO, line: bytes) -> None:
        before = file.tell()
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise

    def _publish(self, line: bytes) -> None:
        """Put the journal with one line more in the old one's place: objects cannot be appended to, nor locked."""
        published = self._whole_lines() if self._published is None else self._published
        found = stamp(self.path)
        if (found.size if found else 0) != len(published):
            raise AnotherDriverError(
                f"another driver has written to {address_of(self.path)} since this one did; expected one driver a "
                "search: end this one and leave the other one at work"
            )
        with replacing(self.path) as file:
            file.write(published + line)
        self._published = published + line

    def events(self) -> list[Event]:
        """Read all events. A last line that is not whole did not happen (yet)."""
        return [Event(**json.loads(line)) for line in self._whole_lines().splitlines()]

    def repair(self) -> None:
        """Cut off a last line that a kill left unfinished; only for the one process that appends."""
        if store_of(self.path) is None and self.path.exists() and len(self._whole_lines()) < self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(len(self._whole_lines()))

    def _whole_lines(self) -> bytes:
        try:
            with opened(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            data = b""
        lines = data[: data.rfind(b"\n") + 1]
        if self._published is None and store_of(self.path) is not None:
            self._published = lines
        return lines


def in_flight(events: Sequence[Event]) -> list[int]:
    """List the trials that were suggested and have not ended, in order."""
    ended = {event.trial for event in events if event.kind == "ended"}
    return [event.trial for event in events if event.kind == "suggested" and event.trial not in ended]


def unfinished(events: Sequence[Event], trials: int) -> int:
    """Count the trials that are still to run of a search over ``trials``: in flight or not yet suggested."""
    suggested = sum(event.kind == "suggested" for event in events)
    exhausted = any(event.kind == "exhausted" for event in events)
    return len(in_flight(events)) + (0 if exhausted else trials - suggested)
