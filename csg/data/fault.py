"""What can be wrong with a data set: the kinds of faults, what each means for a training, and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from csg.messages.errors import BadDataError
from csg.messages.text import make_one_line

SHOWN: Final = 12
"""Faults that an error message names; a check names all."""
Kind = Literal[
    "malformed line",
    "unknown class",
    "path outside the folder",
    "two classes",
    "class without images",
    "class with one image",
    "label against folder",
    "repeated line",
    "present but not listed",
    "outside the class folders",
    "listed but absent",
    "bad image",
    "image without label map",
    "label map without image",
    "size mismatch",
    "unknown label id",
    "orientation not applied",
    "palette against ids",
    "other table of ids",
    "mixed tables of ids",
    "no labelled pixel",
    "stream without labels",
    "classes without pixels",
]
KINDS_IN_WORDS: Final[dict[Kind, tuple[str, str]]] = {
    "malformed line": ("malformed line", "malformed lines"),
    "unknown class": ("line with an unknown class", "lines with an unknown class"),
    "path outside the folder": ("path outside the folder", "paths outside the folder"),
    "two classes": ("image with two classes", "images with two classes"),
    "class without images": ("class without images", "classes without images"),
    "class with one image": ("class with one image", "classes with one image"),
    "label against folder": ("label against the folder", "labels against the folder"),
    "repeated line": ("repeated line", "repeated lines"),
    "present but not listed": ("image present but not listed", "images present but not listed"),
    "outside the class folders": ("image outside the class folders", "images outside the class folders"),
    "listed but absent": ("image listed but absent", "images listed but absent"),
    "bad image": ("bad image", "bad images"),
    "image without label map": ("image without label map", "images without label map"),
    "label map without image": ("label map without image", "label maps without image"),
    "size mismatch": ("size mismatch", "size mismatches"),
    "unknown label id": ("label map with an unknown id", "label maps with unknown ids"),
    "orientation not applied": ("orientation that is not applied", "orientations that are not applied"),
    "palette against ids": ("palette against the ids", "palettes against the ids"),
    "other table of ids": ("side with another table of ids", "sides with another table of ids"),
    "mixed tables of ids": ("side with mixed tables of ids", "sides with mixed tables of ids"),
    "no labelled pixel": ("side without a labelled pixel", "sides without a labelled pixel"),
    "stream without labels": ("stream without labels", "streams without labels"),
    "classes without pixels": ("side with classes without pixels", "sides with classes without pixels"),
}
"""What one fault of a kind and several of it are called where they are counted."""
IMPASSABLE: Final[tuple[Kind, ...]] = (
    *("malformed line", "unknown class", "path outside the folder", "two classes"),
    *("class without images", "class with one image"),
    *("other table of ids", "no labelled pixel", "stream without labels"),
)
"""What nothing can be trained on, whatever ``data.on_bad_image`` says."""
UNREADABLE: Final[tuple[Kind, ...]] = ("listed but absent", "bad image", "unknown label id", "palette against ids")
"""What ``data.on_bad_image`` decides about."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with a data set."""

    kind: Kind
    place: str
    """The file, or the list file and its line, or the folder."""
    reason: str
    """What was expected and what was found."""

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class BadImageError(BadDataError):
    """A file that should be an image and cannot be used as one."""

    kind: ClassVar[Kind] = "bad image"
    """What a check calls it."""
    wanted: ClassVar[str] = "an image"
    """What the file should be, in words."""

    def __init__(self, path: Path | str, reason: str, advice: str = "") -> None:
        super().__init__(f"{path}: expected {self.wanted}, {reason}" + (f"; {advice}" if advice else ""))
        self.path = str(path)
        self.reason = reason

    @property
    def fault(self) -> Fault:
        """What a check lists."""
        return Fault(self.kind, self.path, f"expected {self.wanted}, {self.reason}")

    def advise(self, advice: str) -> BadImageError:
        """Return the same error with a word on what to do."""
        return type(self)(self.path, self.reason, advice)

    def __reduce__(self) -> tuple[type[BadImageError], tuple[str, str]]:
        """Cross to another process as path and reason."""
        return type(self), (self.path, self.reason)


class AbsentImageError(BadImageError):
    """A file that should be an image and is not there."""

    kind = "listed but absent"


def name_faults(faults: Sequence[Fault | str], what: str) -> str:
    """Put the first faults into words, one a line."""
    lines = [f"  {make_one_line(str(fault))}" for fault in faults[:SHOWN]]
    more = len(faults) - SHOWN
    return "\n".join([what, *lines, *([f"  and {more:,} more; csg data check lists them all"] if more > 0 else [])])
