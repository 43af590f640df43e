"""One side of a pair on disk whose labels are maps: its files, and what is wrong with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import torch

from csg.config import Ids
from csg.data.domain import Look
from csg.data.fault import BadImageError, Fault
from csg.data.maps.files import MapFiles, describe_size_mismatch
from csg.data.maps.judgement import judge_maps
from csg.data.maps.label_maps import VOID, read_ids
from csg.data.reading.decoding import USUAL_LIMIT, PixelLimit, read_bytes
from csg.data.reading.listing import COMPANION, OF_SYSTEM, Found, PassedOver, count_passed_over, list_files

DecodedT = TypeVar("DecodedT")
OTHER: Final = "neither an image of this layout nor the label map that is used"


@dataclass(frozen=True)
class MapDomain:
    """The synthetic or the real images of a pair on disk, with their label maps."""

    side: Literal["source", "target"]
    classes: tuple[str, ...]
    files: MapFiles
    """Images that have a label map of their size, and the maps."""
    faults: tuple[Fault, ...]
    """What is wrong with the listing, and which sizes differ; the pixels were not looked at."""
    named: frozenset[str] = frozenset()
    """Paths of all images and label maps, those among them that have no partner."""
    companions: re.Pattern[str] | None = None
    """Paths of what is published beside them; None for nothing."""
    part: str = ""
    """Which part of its side it is, where there are several."""

    @property
    def name(self) -> str:
        """The side, and the part."""
        return f"{self.side} {self.part}".rstrip()

    def find_unlisted(self, *, allow_missing: bool) -> tuple[list[Fault], tuple[PassedOver, ...]]:
        """Count what is passed over for its name; what has no partner is among the faults of the listing."""
        found = [
            Found(one.path, self._explain(one))
            for one in list_files(self.files.folder)
            if str(one.path.relative_to(self.files.folder)) not in self.named
        ]
        return [], count_passed_over(found, self.files.folder)

    def _explain(self, found: Found) -> str:
        """Say why a file is not used."""
        path = found.path.relative_to(self.files.folder).as_posix()
        if found.reason != OF_SYSTEM and self.companions is not None and self.companions.fullmatch(path):
            return COMPANION
        return found.reason or OTHER

    def count_unknown(self) -> int:
        """Return how many files would have to be read to know what they hold."""
        return self.files.count_unknown()

    def learn(self, looks: Sequence[Look]) -> None:
        """Remember what the files held when they were all looked at.

        Raises:
            UserError: the cache cannot be written to.
        """
        for place, files in enumerate((self.files.images, self.files.maps)):
            files.learn([look.contents[place] for look in looks])

    def look(self, index: int) -> Look:
        """Decode an image and its map, and count the pixels of every class."""
        faults: list[Fault] = []
        contents: list[bytes] = []

        def decode_or_note(path: Path, decode: Callable[[bytes], DecodedT]) -> DecodedT | None:
            contents.append(b"")
            try:
                content = read_bytes(path)
                contents[-1] = hashlib.sha256(content).digest()
                return decode(content)
            except BadImageError as error:
                faults.append(error.fault)
                return None

        files = self.files
        seen = decode_or_note(files.images.get_path(index), lambda content: files.decode_picture(index, content))
        path, limit = files.maps.get_path(index), files.maps.limit
        found = decode_or_note(path, lambda content: read_ids(path, content, limit))
        ids = None if found is None else found.shown
        classes = None
        if found is not None:
            try:
                classes = files.read_classes(index, found)
            except BadImageError as error:
                faults.append(error.fault)
        pixels = np.zeros(len(self.classes), dtype=np.int64)
        if seen is None or classes is None:
            return Look(None, tuple(contents), tuple(faults), pixels, ids=ids)
        picture, orientation = seen
        if picture.size != classes.shape[::-1]:  # a header told otherwise
            reason = describe_size_mismatch(classes.shape[::-1], picture.size)
            fault = Fault("bad image", str(files.maps.get_path(index)), f"expected a label map, {reason}")
            return Look(None, tuple(contents), (fault,), pixels, ids=ids)
        pixels = np.bincount(classes[classes != VOID], minlength=len(self.classes))
        if orientation != 1:
            reason = (
                f"it has EXIF orientation {orientation}, which is not applied, because its label map lies over the "
                "pixels as they are stored (csg predict does apply it); remove the tag if a viewer shows it turned"
            )
            faults.append(Fault("orientation not applied", str(files.images.get_path(index)), reason))
        return Look(picture.size, tuple(contents), tuple(faults), pixels, ids=ids)

    def judge(self, looks: Sequence[Look]) -> list[Fault]:
        """Say what all label maps together show: no labelled pixel, ids of another table, classes without pixels."""
        return judge_maps(self.side, self.classes, self.files, looks)


def pair_maps(
    folder: str,
    images: Mapping[str, str],
    maps: Mapping[str, str],
    *,
    cache: Path,
    limit: PixelLimit = USUAL_LIMIT,
    ids: Ids,
) -> tuple[MapFiles, tuple[Fault, ...]]:
    """Bring images and label files together that have the same name and size.

    Args:
        folder: what paths are relative to.
        images: path of every image by what names the pair.
        maps: path of every label file by what names the pair.
        cache: folder that remembers sizes and what files hold.
        limit: how many pixels each may have.
        ids: what the pixels of label files hold.

    Returns:
        The pairs, and a fault for everything else.

    Raises:
        UserError: ``cache`` cannot be written to.
    """
    faults = [
        Fault("image without label map", str(Path(folder, path)), "it has no label map, and is not used")
        for name, path in sorted(images.items())
        if name not in maps
    ]
    faults += [
        Fault("label map without image", str(Path(folder, path)), "it has no image, and is not used")
        for name, path in sorted(maps.items())
        if name not in images
    ]
    pairs = {path: maps[name] for name, path in images.items() if name in maps}
    files = MapFiles.of(folder, pairs, cache=cache, limit=limit, ids=ids)
    of_images, of_maps = files.read_header_sizes(cache)
    # A file whose header cannot be read is no mismatch: that it is damaged is found when it is decoded.
    differ = (of_images != of_maps).any(axis=1) & of_images.all(axis=1) & of_maps.all(axis=1)
    for index in np.flatnonzero(differ).tolist():
        sizes = [(int(one[0]), int(one[1])) for one in (of_maps[index], of_images[index])]
        reason = f"{describe_size_mismatch(*sizes)}; neither is used"
        faults.append(Fault("size mismatch", str(files.maps.get_path(index)), f"expected a label map, {reason}"))
    return files.subset(torch.from_numpy(np.flatnonzero(~differ))), tuple(faults)
