"""Images that are read from their places in shards, in any order.

Training on shards is what training on the same files would be.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csg.data.fault import BadImageError
from csg.data.reading.contents import Contents, read_stamps
from csg.data.reading.decoding import USUAL_LIMIT, PixelLimit
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.shard_index import ShardListing


@dataclass(frozen=True)
class ShardFiles(ImageFiles):
    """Images in shards, each with a class, in the order of the shards and within them."""

    offsets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(N,) bytes of its shard before each image's own."""
    shards: tuple[str, ...] = ()
    """Names of the shards below the folder."""
    owners: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(N,) which shard each image is in."""

    def read(self, index: int) -> bytes:
        """See :class:`~csg.data.reading.image_files.ImageFiles`."""
        path = Path(self.folder, self.shards[self.owners[index]])
        content = read_range(path, int(self.offsets[index]), int(self.sizes[index]))
        if len(content) < self.sizes[index]:
            raise BadImageError(self.get_path(index), "found a shard that is shorter than when it was listed")
        if not content:
            raise BadImageError(self.get_path(index), "found an empty file")
        return content

    def subset(self, indices: Tensor) -> ShardFiles:
        """Return some of the images."""
        plain, kept = super().subset(indices), indices.numpy()
        return ShardFiles(
            **{name: getattr(plain, name) for name in ImageFiles.__dataclass_fields__},
            offsets=self.offsets[kept],
            shards=self.shards,
            owners=self.owners[kept],
        )


class ShardContents(Contents):
    """What the images of shards hold, read when it is first asked for."""

    def __init__(
        self,
        folder: str,
        names: npt.NDArray[np.uint8],
        ends: npt.NDArray[np.int64],
        stamps: npt.NDArray[np.int64],
        cache: Path | None,
        *,
        paths: Sequence[Path],
        offsets: npt.NDArray[np.int64],
    ) -> None:
        """Take the shard and the offset of each image; for the others see :class:`Contents`."""
        super().__init__(folder, names, ends, stamps, cache)
        self._paths, self._offsets, self._sizes = paths, offsets, stamps[:, 0]

    def _read(self, places: npt.NDArray[np.int64]) -> bytes:
        ranges = ((self._paths[each], int(self._offsets[each]), int(self._sizes[each])) for each in places.tolist())
        return b"".join(hashlib.sha256(read_range(*each)).digest() for each in ranges)


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Return so many bytes of a file from an offset on, or as many as there are."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


def find_shard_files(
    listing: ShardListing, labels: Mapping[str | None, int], *, cache: Path | None, limit: PixelLimit = USUAL_LIMIT
) -> ShardFiles:
    """Look up the shards' times, and give every image the number of its class.

    Args:
        listing: what the shards hold.
        labels: the number by the class's name in the shards, or None; images of other classes are left out.
        cache: folder that remembers what images hold; None remembers nothing.
        limit: how many pixels each may have.
    """
    every = [(owner, each) for owner, samples in enumerate(listing.samples) for each in samples if each.label in labels]
    owners = np.array([owner for owner, _ in every], dtype=np.int64)
    encoded = [os.fsencode(f"{listing.shards[owner]}/{each.name}") for owner, each in every]
    names = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    stamps = read_stamps(str(listing.folder), [os.fsencode(shard) for shard in listing.shards])[owners]
    stamps[:, 0] = [each.size for _, each in every]
    offsets = np.array([each.offset for _, each in every], dtype=np.int64)
    paths = [listing.folder / shard for shard in listing.shards]
    contents = ShardContents(
        *(str(listing.folder), names, ends, stamps, cache),
        paths=[paths[owner] for owner in owners.tolist()],
        offsets=offsets,
    )
    return ShardFiles(
        folder=str(listing.folder),
        names=names,
        ends=ends,
        labels=torch.tensor([labels[each.label] for _, each in every], dtype=torch.int64),
        stamps=stamps,
        contents=contents,
        places=np.arange(len(every)),
        limit=limit,
        offsets=offsets,
        shards=listing.shards,
        owners=owners,
    )
