"""A search's memory: every suggestion, decision and ending, in the order in which they happened.

Appending a line is all it costs; in a bucket, writing them all anew. Reading the lines back in order, a new
searcher and a new scheduler come to the state of the old ones exactly, wherever a kill fell; Tune's own snapshots hold
no scheduler state and are not written whole.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any, Literal

from csg.storage.place import ConflictError, Place
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

    def __init__(self, file: Place) -> None:
        self.file = file
        self._fault: OSError | None = None
        """What kept an event from being written; those after it would make no sense without it."""
        self._known: bytearray | None = None
        """What was there when it was first read, and what was appended since."""

    def append(self, event: Event) -> None:
        """Write one event, whole, before going on.

        Raises:
            AnotherDriverError: another driver has written there since this one first read it.
            BucketGoneError: the bucket that it lies in does not answer any more.
            OSError: this event, or one before it, could not be written; the file ends with the last one that was.
        """
        if self._fault is not None:
            raise self._fault
        stamped = dataclasses.asdict(event) | {"time": time.time()}
        text = json.dumps({name: value for name, value in stamped.items() if value not in ("", {}, None)})
        line = text.encode() + b"\n"
        known = self._known = bytearray(self._read_lines()) if self._known is None else self._known
        try:
            self.file.append(line, after=known)
        except ConflictError:
            raise AnotherDriverError(
                f"another driver has written to {self.file} since this one did; expected one driver a search: end this "
                "one and leave the other one at work"
            ) from None
        except OSError as error:
            self._fault = error
            raise
        known += line

    def read_events(self) -> list[Event]:
        """Read all events. A last line that is not whole did not happen (yet)."""
        return [Event(**json.loads(line)) for line in self._read_lines().splitlines()]

    def repair(self) -> None:
        """Cut off a last line that a kill left unfinished; only for the one process that appends, before it does."""
        data = self._read()
        lines = _keep_whole_lines(data)
        if lines != data:
            self.file.write(lines)
        self._known = bytearray(lines)

    def _read_lines(self) -> bytes:
        lines = _keep_whole_lines(self._read())
        if self._known is None:
            self._known = bytearray(lines)
        return lines

    def _read(self) -> bytes:
        try:
            with self.file.open() as file:
                return file.read()
        except FileNotFoundError:
            return b""


def _keep_whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def list_in_flight(events: Sequence[Event]) -> list[int]:
    """List the trials that were suggested and have not ended, in order."""
    ended = {event.trial for event in events if event.kind == "ended"}
    return [event.trial for event in events if event.kind == "suggested" and event.trial not in ended]


def count_unfinished(events: Sequence[Event], trials: int) -> int:
    """Count the trials that are still to run of a search over ``trials``: in flight or not yet suggested."""
    suggested = sum(event.kind == "suggested" for event in events)
    return len(list_in_flight(events)) + count_trials(events, trials) - suggested


def count_trials(events: Sequence[Event], asked: int) -> int:
    """Return how many trials a search has in all: as many as were ``asked``, or as its space gave."""
    return next((event.trial for event in events if event.kind == "exhausted"), asked)
