"""One side of a pair on disk, or a part of it: its files, and what its listing shows to be wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from csg.data.fault import BadImageError, Fault, Kind
from csg.data.pair import IGNORED
from csg.data.reading.decoding import inspect
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.listing import PassedOver, count_passed_over, describe_passed_over, list_files
from csg.data.reading.spelling import compose_letters, find_near

Side = Literal["source", "target"]


@dataclass(frozen=True)
class Look:
    """What an image, or an image and its label map, showed when all of it was decoded."""

    size: tuple[int, int] | None
    """Width and height in pixels; None where it cannot be used."""
    contents: tuple[bytes, ...]
    """SHA-256 of the image's bytes on disk, and of its label map's where there is one; empty where none were read."""
    faults: tuple[Fault, ...]
    pixels: npt.NDArray[np.int64] | None = None
    """(classes,) pixels of each class, where labels are maps."""
    several_frames: bool = False
    """Whether frames or pages of the image follow that are not used."""
    ids: npt.NDArray[np.bool_] | None = None
    """(256,) whether the label map shows an id, be it in its table or not; None where there is no such map."""


@dataclass(frozen=True)
class Domain:
    """The synthetic or the real images of a pair on disk."""

    side: Side
    classes: tuple[str, ...]
    """Of the pair; the files may have no label of them, all or none."""
    files: ImageFiles
    faults: tuple[Fault, ...]
    """What is wrong with the listing; the images themselves were not looked at."""
    listed_in: str | None = None
    """The list file below the folder; None where the folder itself is the list."""
    set_aside: frozenset[str] = frozenset()
    """Paths whose files are not used, and not unlisted either: faulty lines name them, or may mean them, or a class map
    leaves them out."""
    part: str = ""
    """Which part of its side it is, where there are several."""

    @property
    def name(self) -> str:
        """The side, and the part."""
        return f"{self.side} {self.part}".rstrip()

    @property
    def is_labelled(self) -> bool:
        """Whether the files have labels."""
        return bool((self.files.labels != IGNORED).any())

    def find_unlisted(self, *, allow_missing: bool) -> tuple[list[Fault], tuple[PassedOver, ...]]:
        """Find image files that are not used, classes that cannot be split, and what is passed over for its name."""
        faults, passed_over = _find_unlisted(self)
        return [*faults, *(() if allow_missing else find_single_images(self))], passed_over

    def count_unknown(self) -> int:
        """Return how many files would have to be read to know what they hold."""
        return self.files.contents.count_unknown()

    def learn(self, looks: Sequence[Look]) -> None:
        """Remember what the files held when they were all looked at.

        Raises:
            UserError: the cache cannot be written to.
        """
        self.files.learn([look.contents[0] for look in looks])

    def judge(self, looks: Sequence[Look]) -> list[Fault]:
        """Return nothing: one image says all that there is to say of it."""
        return []

    def look(self, index: int) -> Look:
        """Pass all of a file's data through the decoder."""
        path = self.files.get_path(index)
        content = b""
        try:
            content = self.files.read(index)
            seen = inspect(path, content, self.files.limit)
        except BadImageError as error:
            return Look(None, (hashlib.sha256(content).digest() if content else b"",), (error.fault,))
        return Look(seen.size, (hashlib.sha256(content).digest(),), (), several_frames=seen.several_frames)


def find_missing_classes(domain: Domain) -> tuple[Fault, ...]:
    """Return a fault for every class of a domain that has no images."""
    counts = dict(zip(domain.classes, domain.files.count_by_class(len(domain.classes)), strict=True))
    place = str(Path(domain.files.folder, domain.listed_in or ""))
    faults = []
    for name in (name for name, count in counts.items() if count == 0):
        near = find_near(name, (other for other, count in counts.items() if count))
        hint = "" if near is None else f", but some of {near!r}: if they are the same class, give it one name"
        reason = f"expected {domain.side} images of {name!r}, found none{_describe_others(domain, name)}{hint}"
        faults.append(Fault("class without images", place, reason))
    return tuple(faults)


def find_single_images(domain: Domain) -> tuple[Fault, ...]:
    """Return a fault for every class of a domain that has a single image, of which no part can be held out."""
    labels = domain.files.labels
    return tuple(
        Fault(
            "class with one image",
            str(domain.files.get_path(int(torch.nonzero(labels == label)))),
            f"expected two images or more of {name!r} among the {domain.side} images, since one part is held out; "
            f"found one{_describe_others(domain, name)}",
        )
        for label, name in enumerate(domain.classes)
        if int((labels == label).sum()) == 1
    )


def _describe_others(domain: Domain, name: str) -> str:
    """Say which files the folder of a class has that are passed over; nothing where lists name the images."""
    folder = Path(domain.files.folder)
    if domain.listed_in is not None:
        return ""
    folders = (path for path in folder.iterdir() if compose_letters(path.name) == name)
    said = describe_passed_over(
        count_passed_over((found for path in folders if path.is_dir() for found in list_files(path)), folder)
    )
    return said and f" ({said})"


def _find_unlisted(domain: Domain) -> tuple[list[Fault], tuple[PassedOver, ...]]:
    """Find image files that no line of the list names, be it a faulty one, or that lie in no class folder.

    What is no image by its name, and is not named by the list either, is counted.
    """
    files = domain.files
    listed = {files.name(index) for index in range(len(files))} | domain.set_aside | {domain.listed_in or ""}
    found = [
        one
        for one in list_files(files.folder)
        if str(one.path.relative_to(files.folder)) not in listed and os.path.abspath(one.path) not in listed  # noqa: PTH100
    ]
    kind: Kind = "outside the class folders" if domain.listed_in is None else "present but not listed"
    reason = (
        "it belongs to no class, and is not used"
        if domain.listed_in is None
        else f"no line of {domain.listed_in} names it, so it is not used"
    )
    faults = [Fault(kind, str(path), reason) for path in sorted(one.path for one in found if one.reason is None)]
    return faults, count_passed_over(found, files.folder)
