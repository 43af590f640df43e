"""Labelled image files, and the stream that reads them.

Names are kept as bytes in one array, not as Python strings: a process that is forked shares the array's memory for
good, while strings would be copied page by page as soon as their reference counts are touched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csg.data.fault import BadImageError
from csg.data.pair import LabelledImages, Reading, count_labels
from csg.data.reading.contents import Contents, Digests, Stamps, read_stamps, split_names
from csg.data.reading.decoding import USUAL_LIMIT, PixelLimit, centre_crop, read_bytes, read_resized
from csg.data.reading.resized import ResizedImages
from csg.data.reading.spelling import place_in_order
from csg.randomness import make_generator


@dataclass(frozen=True)
class ImageFiles:
    """Files below a folder, each with a class, in the order of their names."""

    folder: str
    names: npt.NDArray[np.uint8]
    """The files' paths below the folder, as bytes, one after the other."""
    ends: npt.NDArray[np.int64]
    """(N,) where each name ends."""
    labels: Tensor
    """(N,) int64 class indices; IGNORED of a file without a label."""
    stamps: Stamps
    """(N, 4) by which a change of a file is noticed: see :func:`csg.data.reading.contents.read_stamps`."""
    contents: Contents
    """What the files of the whole listing hold, of which these may be some."""
    places: npt.NDArray[np.int64]
    """(N,) places in the listing."""
    limit: PixelLimit = USUAL_LIMIT
    """How many pixels each may have."""

    @classmethod
    def of(
        cls, folder: str, labels: dict[str, int], *, cache: Path | None = None, limit: PixelLimit = USUAL_LIMIT
    ) -> ImageFiles:
        """Look up every file's size and times.

        Args:
            folder: that all paths are relative to.
            labels: the class of every path.
            cache: folder that remembers what files hold, so that they are read once; None remembers nothing.
            limit: how many pixels each may have.
        """
        pairs = [(os.fsencode(name), labels[name]) for name in sorted(labels, key=place_in_order)]
        names = np.frombuffer(b"".join(name for name, _ in pairs), dtype=np.uint8)
        ends = np.cumsum([len(name) for name, _ in pairs], dtype=np.int64)
        stamps = read_stamps(folder, [name for name, _ in pairs])
        return cls(
            folder=folder,
            names=names,
            ends=ends,
            labels=torch.tensor([label for _, label in pairs], dtype=torch.int64),
            stamps=stamps,
            contents=Contents(folder, names, ends, stamps, cache),
            places=np.arange(len(pairs)),
            limit=limit,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """Return a file's path below the folder."""
        return os.fsdecode(self._name(index))

    def _name(self, index: int) -> bytes:
        start = 0 if index == 0 else int(self.ends[index - 1])
        return self.names[start : int(self.ends[index])].tobytes()

    def get_path(self, index: int) -> Path:
        """Return a file's path."""
        return Path(self.folder, self.name(index))

    def read(self, index: int) -> bytes:
        """Return what a file holds.

        Raises:
            BadImageError: see :func:`csg.data.reading.decoding.read_bytes`.
        """
        return read_bytes(self.get_path(index))

    def subset(self, indices: Tensor) -> ImageFiles:
        """Return some of the files."""
        kept = indices.numpy()
        starts = np.concatenate([np.zeros(1, dtype=np.int64), self.ends])[kept]
        pieces = [self.names[start:end] for start, end in zip(starts, self.ends[kept], strict=True)]
        return ImageFiles(
            folder=self.folder,
            names=np.concatenate(pieces) if pieces else self.names[:0],
            ends=np.cumsum(self.ends[kept] - starts, dtype=np.int64),
            labels=self.labels[indices],
            stamps=self.stamps[kept],
            contents=self.contents,
            places=self.places[kept],
            limit=self.limit,
        )

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(N,) bytes; -1 where there is no such file."""
        return self.stamps[:, 0]

    @property
    def digests(self) -> Digests:
        """(N, 32) SHA-256 of what each file holds; zeros where there is no such file.

        Raises:
            UserError: they cannot be remembered in the cache.
        """
        return self.contents.read_digests(self.places)

    def learn(self, digests: Sequence[bytes]) -> None:
        """Take the SHA-256 of what was read of each file; empty where nothing was.

        Raises:
            UserError: they cannot be remembered in the cache.
        """
        read = np.array([bool(digest) for digest in digests], dtype=np.bool_) & (self.sizes >= 0)
        found = b"".join(digest for digest, taken in zip(digests, read.tolist(), strict=True) if taken)
        self.contents.learn(self.places[read], found)
        vars(self).pop("fingerprint", None)  # of what they held before

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every file's path below the folder (letters composed), class and content.

        Raises:
            UserError: see :attr:`digests`.
        """
        digest = hashlib.sha256()
        contents = self.digests.tobytes().hex()
        listed = zip(split_names(self.names, self.ends), self.labels.tolist(), strict=True)
        for index, (stored, label) in enumerate(listed):
            name, _ = place_in_order(os.fsdecode(stored))
            digest.update(name + f"\t{label}\t{contents[64 * index : 64 * index + 64]}\n".encode())
        return digest.hexdigest()

    def count_by_class(self, classes: int) -> list[int]:
        """Return how many files each class has."""
        return count_labels(self.labels, classes)


class FileStream(LabelledImages):
    """Images on disk, decoded whenever they are asked for."""

    def __init__(self, files: ImageFiles, side: int, *, first: int = 0, resized: ResizedImages | None = None) -> None:
        """Take the files and the side, in pixels, of the squares to return.

        Args:
            files: one an image.
            side: of the squares.
            first: number under which the first file's random draws are addressed, where streams are joined.
            resized: keeps what was decoded; None decodes an image whenever it is asked for.
        """
        self.files = files
        self.labels = files.labels
        self._side = side
        self._first = first
        self._resized = resized

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`Stream`; found when it is asked for, which may read every file."""
        return self.files.fingerprint

    def load_images(self, indices: Tensor) -> Tensor:
        """See :class:`Stream`."""
        reading = self.read(indices)
        if reading.bad:
            raise reading.bad[0]
        return reading.views[0]

    def read(self, indices: Tensor) -> Reading:
        """See :class:`Stream`."""
        return self._read(indices, lambda image, _: [centre_crop(image, self._side)], views=1)

    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """See :class:`Stream`; a place is a function of the seed, the epoch, the image and the view."""

        def cut_crops(image: Tensor, index: int) -> list[Tensor]:
            return [
                random_crop(image, self._side, make_generator(seed, "crop", epoch, self._first + index, view))
                for view in range(views)
            ]

        return self._read(indices, cut_crops, views=views)

    def _read(self, indices: Tensor, cut: Callable[[Tensor, int], Sequence[Tensor]], *, views: int) -> Reading:
        squares = torch.empty(views, len(indices), 3, self._side, self._side, dtype=torch.uint8)
        kept: list[int] = []
        bad: list[BadImageError] = []
        of_several = 0
        for index in indices.tolist():
            try:
                image, several_frames = self._read_resized(index)
            except BadImageError as error:
                bad.append(error)
                continue
            of_several += several_frames
            for view, square in enumerate(cut(image, index)):
                squares[view, len(kept)] = square
            kept.append(index)
        places = torch.tensor(kept, dtype=torch.int64)
        return Reading(tuple(squares[:, : len(kept)]), self.labels[places], places, tuple(bad), of_several)

    def _read_resized(self, index: int) -> tuple[Tensor, bool]:
        """Return an image with the wanted shorter side, and whether further frames or pages follow.

        Raises:
            BadImageError: it cannot be used.
        """
        files = self.files
        digest = b"" if self._resized is None else files.contents.recall(int(files.places[index]))
        if self._resized is None or not digest:
            return read_resized(files.get_path(index), self._side, files.limit, files.read(index))
        kept = self._resized.read(digest)
        if kept is not None:
            return kept
        content = files.read(index)
        image, several_frames = read_resized(files.get_path(index), self._side, files.limit, content)
        if hashlib.sha256(content).digest() == digest:  # or it has changed since it was listed
            self._resized.keep(digest, image, several_frames=several_frames)
        return image, several_frames


def random_crop(image: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Cut a (3, side, side) out of (3, H, W), all places alike."""
    top, left = (int(rng.integers(length - side + 1)) for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]
