"""Photographs where labels are maps, of which nobody has drawn any."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from csg.data.maps.label_maps import VOID, Bytes
from csg.data.maps.stream import MapStream
from csg.data.reading.decoding import read_whole
from csg.data.reading.image_files import ImageFiles


class PhotographStream(MapStream):
    """Images on disk, decoded whenever they are asked for; no pixel has a class."""

    def __init__(self, files: ImageFiles, side: int, *, mirror: bool, first: int = 0) -> None:
        """Take the files; for the others see :class:`~csg.data.maps.stream.MapStream`."""
        super().__init__(side, mirror=mirror, first=first)
        self.files = files

    @property
    def has_labels(self) -> bool:
        """See :class:`~csg.data.pair.Stream`."""
        return False

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`~csg.data.pair.Stream`; found when it is asked for, which may read every file."""
        return self.files.fingerprint

    def __len__(self) -> int:
        return len(self.files)

    def decode(self, index: int) -> tuple[Image.Image, Bytes]:
        """See :class:`~csg.data.maps.stream.MapStream`; the image is upright."""
        picture, _ = read_whole(self.files.get_path(index), self.files.limit, self.files.read(index))
        return picture, np.full(picture.size[::-1], VOID, dtype=np.uint8)
