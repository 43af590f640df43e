"""Images on disk with a label map each: how they are listed in pairs, and the stream that reads them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from csg.config import Ids
from csg.data.maps.label_maps import LABEL_IDS, TRAIN_IDS, BadMapError, Bytes, IdMap, read_ids
from csg.data.maps.stream import MapStream
from csg.data.reading.cache import write_cached
from csg.data.reading.decoding import USUAL_LIMIT, PixelLimit, decode_stored, read_bytes
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.spelling import place_in_order
from csg.messages.faults import is_file_fault
from csg.messages.waiting import Waiting

Sizes = npt.NDArray[np.int32]

TRAIN_IDS_END: Final = "_labelTrainIds.png"
"""How the name of a file ends whose pixels are Cityscapes' ``trainId``, unless settings say otherwise."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = 24
"""Bytes of a PNG file up to and with its size."""


@dataclass(frozen=True)
class MapFiles:
    """Pairs of files below one folder, in the order of the images' names."""

    images: ImageFiles
    maps: ImageFiles
    """The label files, in the order of their images. (Neither's ``labels`` mean anything.)"""
    ids: Ids
    """What their pixels hold."""

    @classmethod
    def of(
        cls,
        folder: str,
        pairs: Mapping[str, str],
        *,
        cache: Path | None = None,
        limit: PixelLimit = USUAL_LIMIT,
        ids: Ids = "by_name",
    ) -> MapFiles:
        """Look up every file's size and times.

        Args:
            folder: that all paths are relative to.
            pairs: the label file of every image, as paths.
            cache: folder that remembers what files hold; None remembers nothing.
            limit: how many pixels each may have.
            ids: what the pixels of label files hold.
        """
        places = {name: place for place, name in enumerate(sorted(pairs.values(), key=place_in_order))}
        order = [places[pairs[name]] for name in sorted(pairs, key=place_in_order)]
        images, maps = (
            ImageFiles.of(folder, dict.fromkeys(names, 0), cache=cache, limit=limit)
            for names in (pairs, pairs.values())
        )
        return cls(images, maps.subset(torch.tensor(order, dtype=torch.int64)), ids)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> MapFiles:
        """Return some of the pairs."""
        return MapFiles(self.images.subset(indices), self.maps.subset(indices), self.ids)

    @property
    def folder(self) -> str:
        """What all paths are relative to."""
        return self.images.folder

    @property
    def fingerprint(self) -> str:
        """Hash of every file's path below the folder and content, and of what ids mean.

        Raises:
            UserError: what was read cannot be remembered in the cache.
        """
        return hashlib.sha256(f"{self.images.fingerprint} {self.maps.fingerprint} {self.ids}".encode()).hexdigest()

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(2, N) bytes of images and label files; -1 where there is no such file."""
        return np.stack([self.images.sizes, self.maps.sizes])

    def count_unknown(self) -> int:
        """Return how many files would have to be read to know what they hold."""
        return self.images.contents.count_unknown() + self.maps.contents.count_unknown()

    def decode_picture(self, index: int, content: bytes | None = None) -> tuple[Image.Image, int]:
        """Decode an image to RGB as it is stored, over which its label map lies; ``content`` is the file's if known.

        Returns:
            The image, and the EXIF orientation that is not applied (1: upright).

        Raises:
            BadImageError: it cannot be used.
        """
        path = self.images.get_path(index)
        return decode_stored(path, read_bytes(path) if content is None else content, self.images.limit)

    def get_table(self, index: int) -> Bytes:
        """Return what the ids of a label file mean: (256,) classes."""
        by_name = self.maps.name(index).endswith(TRAIN_IDS_END)
        return TRAIN_IDS if self.ids == "train_ids" or (self.ids == "by_name" and by_name) else LABEL_IDS

    def read_classes(self, index: int, found: IdMap | None = None) -> Bytes:
        """Return the (H, W) classes of a label file; ``found`` is what it holds where that is known.

        Raises:
            BadImageError: it cannot be used, or its ids are not those of its table.
        """
        if found is None:
            path = self.maps.get_path(index)
            found = read_ids(path, read_bytes(path), self.maps.limit)
        return found.look_up_classes(self.get_table(index), trusted=self.ids != "by_name")

    def read_header_sizes(self, cache: Path) -> tuple[Sizes, Sizes]:
        """Return (N, 2) width and height of images and of label files by their headers; 0 where there is none.

        The headers are read once: the result is kept in the folder ``cache`` until a file changes.

        Raises:
            UserError: the folder cannot be written to.
        """
        digest = hashlib.sha256(os.fsencode(self.folder))
        for files in (self.images, self.maps):
            for part in (files.names, files.ends, files.stamps):
                digest.update(part.tobytes())
        path = cache / f"sizes-{digest.hexdigest()[:16]}.npy"
        kept = _load_kept_sizes(path, len(self))
        if kept is None:
            line = f"read the sizes of {{}} files below {self.folder}"
            found = []
            with Waiting("reading sizes", line, 2 * len(self)) as waiting:
                for files in (self.images, self.maps):
                    for place in range(len(self)):
                        found.append(read_png_size(files.get_path(place)))
                        waiting.add(1)
            kept = np.array(found, dtype=np.int32).reshape(2, len(self), 2)
            with write_cached(path) as file:
                np.save(file, kept, allow_pickle=False)
        return kept[0], kept[1]


class FileMapStream(MapStream):
    """Pairs on disk, decoded whenever they are asked for."""

    def __init__(self, files: MapFiles, places: Tensor, side: int, *, mirror: bool, first: int = 0) -> None:
        """Take files and which of them the stream holds; for the others see :class:`MapStream`."""
        super().__init__(side, mirror=mirror, first=first)
        self.files = files.subset(places)
        self.places = places

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`Stream`; found when it is asked for, which may read every file."""
        return self.files.fingerprint

    def __len__(self) -> int:
        return len(self.files)

    def decode(self, index: int) -> tuple[Image.Image, Bytes]:
        """See :class:`MapStream`."""
        (picture, _), classes = self.files.decode_picture(index), self.files.read_classes(index)
        if picture.size != classes.shape[::-1]:
            raise BadMapError(
                self.files.maps.get_path(index), describe_size_mismatch(classes.shape[::-1], picture.size)
            )
        return picture, classes


def describe_size_mismatch(of_map: tuple[int, int], of_image: tuple[int, int]) -> str:
    """Say how the sizes of a label map and of its image differ; neither is ever resized to fit the other."""
    return f"found {of_map[0]}x{of_map[1]} pixels where its image has {of_image[0]}x{of_image[1]}"


def read_png_size(path: Path) -> tuple[int, int]:
    """Return width and height by the header of a PNG file; (0, 0) where it has none.

    Raises:
        OSError: the machine lacks something, which is no fault of the file's.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would never end
            return 0, 0
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        if not is_file_fault(error):
            raise
        return 0, 0
    if len(header) < _HEADER or not header.startswith(_PNG):
        return 0, 0
    width, height = (int.from_bytes(header[start : start + 4], "big") for start in (16, 20))
    return (width, height) if max(width, height) < 2**31 else (0, 0)


def _load_kept_sizes(path: Path, images: int) -> Sizes | None:
    """Return what is kept, or None where nothing is, or it is damaged."""
    try:
        kept = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    return kept if kept.dtype == np.int32 and kept.shape == (2, images, 2) else None
