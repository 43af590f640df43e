"""What a run is and what it showed so far: ``record.json`` in its folder."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

from csg.data.pair import SOURCE_SHIFTED
from csg.messages.errors import UserError
from csg.storage.layout import RECORD
from csg.storage.place import Place
from csg.training.selection import TARGET_ALL

Status = Literal["running", "finished", "stopped", "failed", "interrupted"]
"""stopped: by a scheduler, for good; interrupted: by something else, to be resumed."""


@dataclasses.dataclass
class Record:
    """What a run showed, kept in ``record.json``."""

    identity: dict[str, Any]
    config: dict[str, Any]
    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """Metrics of every epoch so far."""
    final: dict[str, float] = dataclasses.field(default_factory=dict)
    """Metrics on target/test, once the run is finished."""
    status: Status = "running"
    error: str = ""
    megabytes: float = 0.0
    """What the run keeps on disk."""

    @property
    def durations(self) -> dict[str, float]:
        """What training and measuring took in all, and what an epoch of training did, in seconds."""
        spent = [value for values in self.epochs for name, value in values.items() if name.endswith("/seconds")]
        training = [values["train/seconds"] for values in self.epochs if "train/seconds" in values]
        total = {"duration_seconds": sum(spent) + self.final.get("test/seconds", 0.0)}
        return total | ({"seconds_per_epoch": sum(training) / len(training)} if training else {})

    @property
    def skipped_images(self) -> int:
        """How many images could not be read, the most of any epoch; source/shifted shows those of source/val again."""
        largest: dict[str, float] = {}
        for name, value in (item for metrics in (*self.epochs, self.final) for item in metrics.items()):
            if name.endswith("/skipped_images") and not name.startswith((SOURCE_SHIFTED, TARGET_ALL)):
                largest[name] = max(value, largest.get(name, 0.0))
        return int(sum(largest.values()))


def read_record(folder: Place) -> Record | None:
    """Read a run's record, or None where there is none.

    Raises:
        UserError: it is damaged.
    """
    try:
        with (folder / RECORD).open() as file:
            return Record(**json.load(file))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(
            f"expected the record of a run in {folder / RECORD}, found a damaged file ({error}); remove "
            "it, and the run is trained anew"
        ) from None


def write_record(folder: Place, record: Record) -> None:
    """Put a run on record, in a folder that is made if it has to be."""
    (folder / RECORD).write(json.dumps(dataclasses.asdict(record), indent=1).encode())
